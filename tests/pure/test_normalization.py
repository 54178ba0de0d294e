"""Normal forms take time that grows with the text, and change nothing that a language writes."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmem._text import normalization
from openmem._text.normalization import MAX_MARKS, Form, bounded_marks, is_mark, normalized

FORMS: list[Form] = ["NFC", "NFD", "NFKC", "NFKD"]


def test_every_mark_of_this_python_is_looked_at() -> None:
    missed = [
        f"{code:04X}"
        for code in range(sys.maxunicode + 1)
        if is_mark(chr(code)) and not normalization._PERHAPS_MARKS.fullmatch(chr(code) * (MAX_MARKS + 1))
    ]
    assert not missed


@given(st.text(), st.sampled_from(FORMS))
def test_ordinary_text_has_its_normal_form(text: str, form: Form) -> None:
    assert normalized(form, text) == unicodedata.normalize(form, text)


@given(
    st.lists(
        st.sampled_from(["\u0300" * 20, "\u0316" * 20, "\u0f73", "\uff9e" * 7, "a", "é", " ", "-", "\u200d", "가"])
    ).map("".join)
)
def test_no_run_of_marks_is_longer_than_thirty(text: str) -> None:
    length = longest = 0
    for sign in bounded_marks(text):
        length = length + 1 if is_mark(sign) else 0
        longest = max(longest, length)
    assert longest <= MAX_MARKS
    assert [sign for sign in bounded_marks(text) if not is_mark(sign)] == [sign for sign in text if not is_mark(sign)]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "marks", [("\u0300", "\u0316"), ("\u0f73", "\u0f71"), ("\uff9e", "\u0316"), ("\u0344", "\u0323")]
)
def test_marks_beyond_the_thirtieth_are_dropped_before_they_are_sorted(form: Form, marks: tuple[str, str]) -> None:
    # 100,000 of them took 38 seconds.
    found = normalized(form, "a" + marks[0] * 50_000 + marks[1] * 49_999 + "b")
    assert found == unicodedata.normalize(form, "a" + marks[0] * MAX_MARKS + "b")

"""Texts that look alike have one skeleton, and each sign of it has its place in the text."""

from __future__ import annotations

import pytest

from openmem._text.skeleton import places, skeleton


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("Good <B>\n", "good <b>\n"),
        ("Ｇｏｏｄ", "good"),
        ("gооd", "good"),
        ("gööd", "good"),
        ("go\u0301od", "good"),
        ("go\u200bod", "good"),
        ("＜ｂ＞", "<b>"),
        ("ﬁne", "fine"),
        ("½", "1/2"),
        ("Straße", "strasse"),
        ("東", "東"),
        ("Ω", "w"),
        ("é b", "e b"),
    ],
)
def test_skeleton_is_what_a_text_looks_like(text: str, seen: str) -> None:
    assert skeleton(text).replace("\u2044", "/") == seen
    assert skeleton(text) == skeleton(text)


def test_place_of_each_sign_is_that_of_the_one_it_comes_from() -> None:
    assert places("abc") == [0, 1, 2]
    assert places("aßb") == [0, 1, 1, 2]
    assert places("a\u0301b") == [0, 2]

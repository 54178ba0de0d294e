"""URLs in their parts, and as they are shown."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmem._model.urls import UNREADABLE, check_path, parse_url, redacted_url
from openmem.errors import InvalidRequestError


def test_a_url_is_taken_apart() -> None:
    url = parse_url(" PostgreSQL://us%20er:p%40ss@[::1]:54,db.example,%2Frun%2Fpg:55/d%20b?a=b#c\n")
    assert (url.scheme, url.user, url.password) == ("postgresql", "us er", "p@ss")
    assert url.hosts == (("::1", 54), ("db.example", None), ("/run/pg", 55))
    assert (url.path, url.query, url.fragment) == ("/d%20b", "a=b", "c")
    assert "p@ss" not in repr(url)


@given(st.text(min_size=1).filter(lambda text: "\0" not in text and text.isprintable()))
def test_an_encoded_password_comes_out_as_it_went_in(password: str) -> None:
    assert parse_url(f"postgresql://u:{quote(password, safe='')}@h/d").password == password


@given(
    st.text(), st.sampled_from(["postgresql://u:{}@h/d", "{}", "https://{}", "postgresql://{}", "postgresql://h/d?{}"])
)
def test_whatever_is_written_is_read_or_refused_in_our_words(text: str, shape: str) -> None:
    url, refused = shape.format(text), None
    redacted_url(url)
    try:
        parse_url(url)
    except InvalidRequestError as error:
        refused = error
    assert refused is None or refused.__context__ is None


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:p@h:5432/d?password=p", "postgresql://h:5432/d"),
        ("postgresql://u:p@[::1]:1,b/d", "postgresql://[::1]:1,b/d"),
        ("https://u:p@h.example/api#x", "https://h.example/api"),
        ("sqlite:///notes.db", "sqlite:///notes.db"),
        ("/home/ann/me@work/notes.db", "/home/ann/me@work/notes.db"),
        ("C:\\Users\\ann@work\\notes.db", "C:\\Users\\ann@work\\notes.db"),
        ("postgresql://u:[p]@h/d", UNREADABLE),
        ("u:p@h/d", UNREADABLE),
    ],
)
def test_a_url_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert redacted_url(url) == shown


@pytest.mark.parametrize(
    "path",
    ["notes.db", "./host=1.db", "a:b.db", "a@b.db", "C:/x@y/m.db", "~/m.db", "\\\\server\\share\\m.db", "dir/u:p@x.db"],
)
def test_a_path_is_a_path(path: str) -> None:
    assert check_path(path) == path

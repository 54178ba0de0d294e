"""URLs in their parts, and as they are shown."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmem._model.urls import (
    ENCODING,
    UNREADABLE,
    check_file_name,
    check_path,
    decode,
    is_bare_name,
    is_host,
    parse_port,
    parse_url,
    redacted_url,
)
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
def test_address_is_read_or_refused_in_our_words(text: str, shape: str) -> None:
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


BEGIN = "url cannot be read: it must begin with a scheme such as postgresql:// or https://"
HOST = "url cannot be read: its host is no name, address or path of a socket (IPv6 goes in brackets)"
PORT = "url cannot be read: a port must be a number from 1 to 65535"
PERCENT = "url cannot be read: a % must begin the code of a character, as in %40; % itself is %25"
BRACKETS = f"url cannot be read: {ENCODING}; leave out the brackets of a template"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("h/d", BEGIN),
        ("1a://h", BEGIN),
        ("postgresql://h/\x00", "url cannot be read: it must not hold control characters"),
        ("postgresql://h:1/d?a=b@c", f"url cannot be read: there is an @ behind the host: {ENCODING}"),
        ("postgresql://u:[p]@h", BRACKETS),
        ("postgresql://u:p@p@h", BRACKETS),
        ("postgresql://u p:x@h", BRACKETS),
        ("postgresql://h\uff0fx", BRACKETS),
        ("postgresql://u:%zz@h", PERCENT),
        ("postgresql://u:%ff@h", PERCENT),
        ("postgresql://u:%00@h", PERCENT),
        ("postgresql://-h", HOST),
        ("postgresql://h h", HOST),
        ("postgresql://[h]", HOST),
        ("postgresql://a,,b", HOST),
        ("postgresql://h:0", PORT),
        ("postgresql://h:65536", PORT),
        ("postgresql://h:123456", PORT),
        ("postgresql://h:+1", PORT),
        ("postgresql://[::1]:x", PORT),
    ],
)
def test_url_that_cannot_be_read_says_why(url: str, message: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        parse_url(url)
    assert caught.value.message == message
    with pytest.raises(InvalidRequestError) as renamed:
        parse_url(url, "OMP_URL")
    assert renamed.value.message == message.replace("url cannot", "OMP_URL cannot")


def test_parts_that_are_missing_are_nothing() -> None:
    url = parse_url("sqlite:///notes.db")
    assert (url.user, url.password, url.hosts, url.path, url.query, url.fragment) == (
        None,
        None,
        (),
        "/notes.db",
        "",
        "",
    )
    assert parse_url("https://u@h").password is None
    assert parse_url("https://u:@h").password == ""
    assert (parse_url("https://:p@h").user, parse_url("https://:p@h").password) == (None, "p")
    assert (parse_url("https://h:65535").place, parse_url("https://h:").place) == ("h:65535", "h")
    assert parse_url("https://u:a:b@h").password == "a:b"
    assert parse_url("https://ü:p@h").user == "ü"


def test_port_is_a_number_or_nothing() -> None:
    assert (parse_port(""), parse_port("1"), parse_port("65535")) == (None, 1, 65_535)


@pytest.mark.parametrize(
    "host",
    ["a", "a.b.", "a_b", "A-1", "/run/pg", "::1", "fe80::1%eth0", "bücher.example", "a" * 63, ".".join(["a" * 61] * 4)],
)
def test_host_is_a_name_an_address_or_a_folder(host: str) -> None:
    assert is_host(host)


@pytest.mark.parametrize(
    "host",
    ["", "-a", "a-", "a..b", "a b", "a" * 64, ".".join(["a" * 63] * 4), "fe80::1%", "::g", "é" * 80, "a:b", "::1%e h"],
)
def test_host_is_nothing_else(host: str) -> None:
    assert not is_host(host)


def test_text_without_a_percent_sign_is_decoded_already() -> None:
    assert (decode("a+b"), decode("%41%c3%a9")) == ("a+b", "Aé")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("host=h password=p", "write postgresql://user:password@host:port/database instead of keywords with ="),
        (" User ID = u", "write postgresql://user:password@host:port/database instead of keywords with ="),
        *(
            (slip, "it looks like a URL; a URL begins with postgresql://, sqlite:///, http:// or https://")
            for slip in ("postgres:/h", "'sqlite:m.db", "HTTPS:h", "u:p@h/d", "postgresql+asyncpg:h", "//u:p@h")
        ),
    ],
)
def test_address_that_was_written_wrongly_is_no_path(path: str, message: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        check_path(path, "store")
    assert caught.value.message == f"store cannot be read: {message}"


def test_single_word_is_no_file_name_and_is_told_as_far_as_it_can_be_shown() -> None:
    assert [is_bare_name(text) for text in ("a", "a b", "a/b", "a.b", "a:b", "a\\b")] == [True, True] + [False] * 4
    assert check_file_name("./a") == "./a"
    for word, shown in (("a", "a"), ("a" * 60, "a" * 60), ("a" * 61, "FILE"), ("a\n", "FILE")):
        with pytest.raises(InvalidRequestError) as caught:
            check_file_name(word, "store")
        assert caught.value.message == (
            f"store: a single word is no address; for a file write ./{shown} or {shown}.db, "
            "for a server postgresql://… or https://…"
        )
    with pytest.raises(InvalidRequestError, match="store cannot be read: it looks like a URL"):
        check_file_name("u:p@h/d", "store")


def test_text_that_cannot_be_decoded_is_called_a_url_unless_it_has_another_name() -> None:
    for more, name in (((), "url"), (("OMP_URL",), "OMP_URL")):
        with pytest.raises(InvalidRequestError, match=f"^{name} cannot be read: a % must begin"):
            decode("%", *more)

"""The table of routes, and the heads of requests."""

from __future__ import annotations

import pytest

from openmem._protocol.request_heads import SINGLE, fields_of
from openmem._protocol.routes import ROUTES, template_of
from openmem.errors import InvalidRequestError


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/memories", "/memories"),
        ("/memories/search", "/memories/search"),
        ("/healthz", "/healthz"),
        ("/docs", "/docs"),
        ("/docs/style.css", "/docs/{name}"),
        ("/memories/a", "/memories/{id}"),
        ("/memories/a%2Fb", "/memories/{id}"),
        ("/memories/a/history", "/memories/{id}/history"),
        ("/memories/by-key/a%2Fb", "/memories/by-key/{key}"),
        ("/memories/by-key/history", "/memories/by-key/{key}"),
        ("/memories/by-key/history/history", "/memories/by-key/{key}/history"),
        ("/memories/by-key", "/memories/{id}"),
        ("/memories/%62y-key/history", "/memories/{id}/history"),
        ("/memories/by-key/", None),
        ("/memories/", None),
        ("/memories/a/b", None),
        ("/memories/a/history/b", None),
        ("/other", None),
    ],
)
def test_path_has_the_template_that_it_fits(path: str, template: str | None) -> None:
    assert template_of(path, path.encode()) == template


def test_id_with_a_slash_is_told_by_the_path_before_its_decoding() -> None:
    assert template_of("/memories/a/b", b"/memories/a%2Fb") == "/memories/{id}"


def test_route_that_changes_memories_says_so_and_asks_for_a_key() -> None:
    told = {
        operation.verb: operation.effect
        for methods in ROUTES.values()
        for operation in methods.values()
        if operation.effect != "none"
    }
    assert told == {"add": "write", "add_many": "write", "update": "write", "delete": "erase", "delete_all": "erase"}
    free = {operation.verb for methods in ROUTES.values() for operation in methods.values() if not operation.needs_key}
    assert free == {"capabilities", "openapi"}


def test_headers_of_one_name_are_one_list_unless_they_have_a_single_value() -> None:
    assert fields_of([(b"host", b"a"), (b"accept", b"x")]) == {b"host": b"a", b"accept": b"x"}
    assert fields_of([(b"accept", b"x"), (b"host", b"a"), (b"accept", b"y")]) == {b"accept": b"x, y", b"host": b"a"}
    assert fields_of([]) == {}


@pytest.mark.parametrize("name", sorted(SINGLE))
def test_header_with_a_single_value_is_given_once(name: bytes) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        fields_of([(name, b"a"), (b"accept", b"x"), (name, b"a")])
    assert caught.value.message == f"the header {name.decode()} must be given once"

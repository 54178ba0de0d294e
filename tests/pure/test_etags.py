from __future__ import annotations

import pytest

from openmem._protocol.etags import etag, expected_version, is_known, replaced_version, wants_absent
from openmem.errors import InvalidRequestError, VersionConflictError


def test_version_is_its_tag_in_quotes() -> None:
    assert etag(3) == '"3"'
    assert expected_version(etag(3)) == 3


@pytest.mark.parametrize(
    ("header", "known"),
    [
        *((None, False), ("*", True), (" * ", True), ('"3"', True), ('W/"3"', True), ('"1", "3"', True)),
        *(('"1"', False), ('"33"', False), ("3", False), ("", False)),
    ],
)
def test_version_is_known_that_is_among_those_named(header: str | None, known: bool) -> None:
    assert is_known(header, 3) is known


@pytest.mark.parametrize(
    ("header", "version"), [(None, None), ("*", None), (" *", None), (' "7" ', 7), ('"999999999"', 999_999_999)]
)
def test_expected_version_is_the_one_named(header: str | None, version: int | None) -> None:
    assert expected_version(header) == version


@pytest.mark.parametrize("header", ["3", '"3', '"1", "3"', "", "W/3"])
def test_expected_version_is_one_in_quotes(header: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        expected_version(header)
    assert caught.value.message == 'If-Match must be one version in quotes, such as "3", or *'


@pytest.mark.parametrize("header", ['W/"3"', '"0"', '"03"', '"1234567890"', '"abc"', '""'])
def test_tag_that_no_version_has_is_a_conflict(header: str) -> None:
    with pytest.raises(VersionConflictError) as caught:
        expected_version(header)
    assert caught.value.message == "If-Match names no version of this memory"


def test_new_memory_may_be_wanted_where_none_is() -> None:
    assert (wants_absent(None), wants_absent("*"), wants_absent(" * ")) == (False, True, True)
    for header in ('"1"', "", "**", '"1", *'):
        with pytest.raises(InvalidRequestError, match=r"If-None-Match must be \* with POST"):
            wants_absent(header)


def test_new_memory_may_be_wanted_in_the_place_of_a_version() -> None:
    assert (replaced_version(None), replaced_version('"7"')) == (None, 7)
    with pytest.raises(InvalidRequestError, match="If-Match must name a version with POST"):
        replaced_version(" *")
    with pytest.raises(InvalidRequestError, match="If-Match must be one version"):
        replaced_version("7")
    with pytest.raises(VersionConflictError):
        replaced_version('W/"7"')

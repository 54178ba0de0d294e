"""Versions of a memory as HTTP names them: `ETag`, `If-Match` and `If-None-Match`."""

from __future__ import annotations

import re
from typing import Final

from openmem.errors import InvalidRequestError, VersionConflictError

_TAG: Final = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
_VERSION: Final = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)


def etag(version: int) -> str:
    """Return the `ETag` of a version."""
    return f'"{version}"'


def is_known(header: str | None, version: int) -> bool:
    """Return whether `If-None-Match` names a version."""
    if header is None:
        return False
    return header.strip() == "*" or any(tag == str(version) for _, tag in _TAG.findall(header))


def expected_version(header: str | None) -> int | None:
    """Return the version that `If-Match` names; `None` for any.

    Raises:
        InvalidRequestError: It is no version in quotes.
        VersionConflictError: No memory has such a version.
    """
    if header is None or header.strip() == "*":
        return None
    found = _TAG.fullmatch(header.strip())
    if found is None:
        raise InvalidRequestError('If-Match must be one version in quotes, such as "3", or *')
    weak, tag = found.groups()
    if weak or not _VERSION.fullmatch(tag):
        raise VersionConflictError("If-Match names no version of this memory")
    return int(tag)


def wants_absent(header: str | None) -> bool:
    """Return whether `If-None-Match` of a memory that is to be stored says that none may be there yet.

    Raises:
        InvalidRequestError: It names versions.
    """
    if header is None:
        return False
    if header.strip() != "*":
        raise InvalidRequestError("If-None-Match must be * with POST")
    return True


def replaced_version(header: str | None) -> int | None:
    """Return the version that `If-Match` of a memory that is to be stored wants to replace.

    Raises:
        InvalidRequestError: It is no version in quotes.
        VersionConflictError: No memory has such a version.
    """
    if header is not None and header.strip() == "*":
        raise InvalidRequestError("If-Match must name a version with POST")
    return expected_version(header)

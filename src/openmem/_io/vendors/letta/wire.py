"""The requests to Letta that are needed here. Replies are read as JSON and rid of their vectors at once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, cast

from openmem._io.vendors.call_deadline import time_left
from openmem._io.vendors.letta.items import NAME
from openmem._io.vendors.sdk_errors import SdkErrors
from openmem.errors import NotFoundError

MOST: Final = 100
"""The most passages of one reply."""

SDK: Final = SdkErrors(NAME)

Item = dict[str, Any]


class LettaWire:
    """Requests of archives and passages.

    The SDK builds an object for each of the 4,096 numbers in a passage; that is why its replies are read raw.

    Args:
        sdk: A `letta_client.Letta`. It repeats no request: it would repeat writes, too.
    """

    def __init__(self, sdk: Any) -> None:
        self.sdk = sdk.with_options(max_retries=0)
        self._archives = self.sdk.archives.with_raw_response
        self._passages = self.sdk.archives.passages.with_raw_response
        self._search = self.sdk.passages.with_raw_response.search

    def archives(self, name: str | None = None) -> list[Item]:
        """Return the archives of a name, or all, oldest first."""
        found: dict[str, Item] = {}
        options: dict[str, Any] = {"limit": MOST, "order": "asc"} | ({} if name is None else {"name": name})
        while True:
            page = read_rows(lambda: self._archives.list(**options, timeout=time_left()))
            found |= {str(archive["id"]): archive for archive in page}
            if len(page) < MOST or options.get("after") == page[-1]["id"]:
                return sorted(found.values(), key=lambda archive: (archive["created_at"], archive["id"]))
            options["after"] = page[-1]["id"]

    def create_archive(self, name: str, embedding: str) -> Item:
        """Make an archive."""
        made = SDK.ask(
            lambda: _json(self._archives.create(name=name, embedding=embedding, description="", timeout=time_left()))
        )
        return cast(Item, made)

    def describe_archive(self, archive_id: str, description: str) -> None:
        """Set the description of an archive; that may be done twice."""
        read(lambda: self._archives.update(archive_id, description=description, timeout=time_left()))

    def create(self, archive_id: str, passage: Mapping[str, Any]) -> Item:
        """Store a passage."""
        made = SDK.ask(lambda: _json(self._passages.create(archive_id, **passage, timeout=time_left())))
        return without_vector(made)

    def create_many(self, archive_id: str, passages: Sequence[Mapping[str, Any]]) -> list[Item]:
        """Store passages."""
        made = SDK.ask(
            lambda: _json(self._passages.create_many(archive_id, passages=list(passages), timeout=time_left()))
        )
        return passages_of(_rows(made))

    def delete(self, archive_id: str, passage_id: str) -> None:
        """Erase a passage; one that is gone is no error."""
        try:
            SDK.ask_again(lambda: self._passages.delete(passage_id, archive_id=archive_id, timeout=time_left()))
        except NotFoundError:
            return

    def between(self, archive_id: str, start: str | None, end: str | None) -> list[Item]:
        """Return up to a hundred passages of an archive, oldest first; both ends count."""
        window = {name: value for name, value in (("start_date", start), ("end_date", end)) if value is not None}
        return self._found(archive_id, **window)

    def nearest(self, archive_id: str, text: str, count: int) -> list[Item]:
        """Return the passages of an archive that fit a text, best first."""
        return self._found(archive_id, query=text, limit=min(count, MOST))

    def ping(self) -> Item:
        """Ask the server how it is, and whether it accepts the key."""
        read(lambda: self._archives.list(limit=1, timeout=time_left()))
        return cast(Item, read(lambda: self.sdk.with_raw_response.health(timeout=time_left())))

    def _found(self, archive_id: str, **options: Any) -> list[Item]:
        if not archive_id:  # without one the whole organisation would be searched
            raise ValueError("archive_id")
        # Passages of other archives are left out once more below: a filter that is not known is ignored.
        options = {"limit": MOST, **options}
        rows = read_rows(lambda: self._search(archive_id=archive_id, **options, timeout=time_left()))
        return [passage for row in rows if (passage := without_vector(row["passage"]))["archive_id"] == archive_id]


def read(request: Callable[[], Any]) -> Any:
    """Return the JSON of a reply; the request may be made again."""
    return SDK.ask_again(lambda: _json(request()))


def read_rows(request: Callable[[], Any]) -> list[Item]:
    """Return the objects of a reply that lists some; the request may be made again."""
    return _rows(read(request))


def without_vector(passage: Item) -> Item:
    """Drop a vector of 4,096 numbers and how it was made."""
    for name in ("embedding", "embedding_config"):
        passage.pop(name, None)
    return passage


def passages_of(rows: Iterable[Item]) -> list[Item]:
    """Return passages without their vectors."""
    return [without_vector(row) for row in rows]


def _json(reply: Any) -> Any:
    return json.loads(reply.http_response.content)


def _rows(reply: Any) -> list[Item]:
    if not isinstance(reply, list) or not all(isinstance(row, dict) for row in reply):
        raise TypeError("not a list of objects")
    return reply

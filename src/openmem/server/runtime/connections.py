"""The connections of a process: their number, and which of them is closed for a new one."""

from __future__ import annotations

import sys
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any, Final, Protocol

if sys.platform != "win32":
    import resource

RESERVED_DESCRIPTORS: Final = 128
"""File descriptors that are not for connections: databases, files, pipes, and those just accepted."""
ACCEPTED_AT_ONCE: Final = 16
"""Connections taken from the kernel before the loop looks at any of them."""
BACKLOG: Final = 2048
"""Connections that the kernel takes in before the process does."""
_LEAST: Final = 16


class Evictable(Protocol):
    """A connection that can be told to go."""

    def evict(self) -> bool:
        """Close, to make room for another; return whether it did."""

    def resume(self) -> None:
        """Go on with requests that were sent ahead."""


class Loop(Protocol):
    """An event loop."""

    def call_soon(self, callback: Callable[..., object], *args: Any) -> Any:
        """Run a function in the next turn."""


class ConnectionTable:
    """The connections of a process, and the order in which they give way to new ones.

    1. Without a request, idle or with half a head: they go first, the oldest before the others.
    2. With a request whose body is on its way and whose caller is not known: they go next, the oldest first.
    3. With a request that is worked on: they stay. If all are in this case, the new connection is refused.

    Args:
        limit: The most connections at once.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._without_request: OrderedDict[Evictable, None] = OrderedDict()
        self._ahead: deque[Evictable] = deque()
        self._without_caller: OrderedDict[Evictable, None] = OrderedDict()

    def __repr__(self) -> str:
        waiting, unknown = len(self._without_request), len(self._without_caller)
        return f"<ConnectionTable [limit {self.limit} | {waiting} without a request, {unknown} without a caller]>"

    def waits_for_request(self, connection: Evictable) -> None:
        """Note a connection on which no request is complete up to its head."""
        self._without_caller.pop(connection, None)
        self._without_request[connection] = None

    def waits_for_body(self, connection: Evictable) -> None:
        """Note a connection whose request is still on its way, and whose caller is not known."""
        self._without_request.pop(connection, None)
        self._without_caller[connection] = None

    def works(self, connection: Evictable) -> None:
        """Note a connection that must stay, or is gone."""
        self._without_request.pop(connection, None)
        self._without_caller.pop(connection, None)

    def resume_later(self, connection: Evictable, loop: Loop) -> None:
        """Let a connection go on with requests that were sent ahead: one connection in each turn of the event loop.

        Else clients that send thousands of requests ahead would leave little of each turn to others.
        """
        self._ahead.append(connection)
        if len(self._ahead) == 1:
            loop.call_soon(self._resume, loop)

    def _resume(self, loop: Loop) -> None:
        connection = self._ahead.popleft()
        # Before the connection goes on: it may note itself again, at the end of the line.
        if self._ahead:
            loop.call_soon(self._resume, loop)
        connection.resume()

    def make_room(self, held: int) -> bool:
        """Make one connection go if there are more than allowed; return whether there is room now.

        Args:
            held: Their number, with the new one, which is not noted yet.
        """
        if held <= self.limit:
            return True
        for table in (self._without_request, self._without_caller):
            while table:
                connection, _ = table.popitem(last=False)
                if connection.evict():
                    return True
        return False


def connection_limit(wanted: int) -> int:
    """Return the number of connections that this process can hold, after raising the soft limit of descriptors.

    Args:
        wanted: The number that it should hold.
    """
    if sys.platform == "win32":  # it has no such limit
        return wanted
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + RESERVED_DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < needed:
        most = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        soft = most
    return wanted if soft == resource.RLIM_INFINITY else max(_LEAST, min(wanted, soft - RESERVED_DESCRIPTORS))

"""The care that a fork needs: no SQLite connection may be open while it happens.

SQLite keeps the locks of a file in tables of the process. A child inherits the tables but not the locks, and
whatever it opens again consults them: it would write into a log that the parent deletes on closing, or wait for a
transaction that only ran in the parent. So every connection is closed before a fork, and opened again on use.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import Protocol


class Forkable(Protocol):
    """A store, as this module sees it."""

    def pause(self) -> None:
        """Wait until nothing runs, let nothing begin, and close every connection."""

    def resume(self) -> None:
        """Let calls begin again."""

    def forked(self) -> None:
        """Start again in a child process."""


_lock = threading.Lock()
_stores: weakref.WeakSet[Forkable] = weakref.WeakSet()
_paused: list[Forkable] = []


def watch(store: Forkable) -> None:
    """See to a store at every fork from now on."""
    _stores.add(store)


def _before() -> None:
    # One fork at a time; the parent and the child both end it.
    _lock.acquire()
    for store in list(_stores):
        store.pause()
        _paused.append(store)


def _in_parent() -> None:
    while _paused:
        _paused.pop().resume()
    _lock.release()


def _in_child() -> None:
    global _lock
    # The thread that held the lock does not exist in the child.
    _lock = threading.Lock()
    _paused.clear()
    for store in list(_stores):
        store.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)

"""Items of many pages as one iterator, in both forms. A page is asked for when the one before it is used up."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Generic, Protocol, TypeVar

from openmem._io.concurrency.primitives import AsyncLock, Lock
from openmem.errors import ProviderError

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class PageOf(Protocol[T_co]):
    """A part of a list, and where the next part begins."""

    @property
    def items(self) -> Sequence[T_co]:
        """The items of this part."""
        ...

    @property
    def next_cursor(self) -> str | None:
        """The cursor of the next part, `None` for the last."""
        ...


class _Pages(Generic[T]):
    """The items that have arrived and are not used yet, and the next question."""

    def __init__(self) -> None:
        self.ready: deque[T] = deque()
        self.cursor: str | None = None
        self.is_last = False
        self._seen: set[str] = set()

    def take(self, page: PageOf[T]) -> None:
        """Take over a page.

        Raises:
            ProviderError: Its cursor came before: the pages would never end.
        """
        # 1. The last page.
        # 2. A cursor that came before: the pages go in a circle.
        # 3. There is more.
        self.cursor, self.is_last = page.next_cursor, page.next_cursor is None
        if self.cursor is not None and self.cursor in self._seen:
            self.is_last = True
            raise ProviderError("the provider repeats a cursor, so its pages would never end")
        if self.cursor is not None:
            self._seen.add(self.cursor)
        self.ready.extend(page.items)


class AsyncPager(Generic[T]):
    """Iterates over the items of all pages, once. Several tasks may share it: each item goes to one of them.

    After an error the same page is asked for again, so that nothing is left out.

    Args:
        fetch: Returns the page of a cursor, the first one for `None`.
    """

    def __init__(self, fetch: Callable[[str | None], Awaitable[PageOf[T]]]) -> None:
        self._fetch = fetch
        self._pages: _Pages[T] = _Pages()
        self._lock = AsyncLock()

    def __aiter__(self) -> AsyncPager[T]:
        return self

    async def __anext__(self) -> T:
        """Return the next item."""
        pages = self._pages
        async with self._lock:
            # An empty page is not the end: filters may have left nothing of it.
            while not pages.ready:
                if pages.is_last:
                    raise StopAsyncIteration
                pages.take(await self._fetch(pages.cursor))
            return pages.ready.popleft()


class Pager(Generic[T]):
    """Iterates over the items of all pages, once. Several threads may share it: each item goes to one of them.

    After an error the same page is asked for again, so that nothing is left out.

    Args:
        fetch: Returns the page of a cursor, the first one for `None`.
    """

    def __init__(self, fetch: Callable[[str | None], PageOf[T]]) -> None:
        self._fetch = fetch
        self._pages: _Pages[T] = _Pages()
        self._lock = Lock()

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        """Return the next item."""
        pages = self._pages
        with self._lock:
            # An empty page is not the end: filters may have left nothing of it.
            while not pages.ready:
                if pages.is_last:
                    raise StopIteration
                pages.take(self._fetch(pages.cursor))
            return pages.ready.popleft()

"""The opening, the use and the closing of a server's store, on which all that it holds is built."""

from __future__ import annotations

import warnings
from types import TracebackType
from typing import Any, ClassVar, Self, TypeVar

from openmem._async.server_store.databases import AsyncPlace, Make, place_of
from openmem._io.concurrency.call import Deadline
from openmem._io.concurrency.primitives import AsyncBinding, AsyncLock
from openmem._model.checks import check_flag, check_timeout

T = TypeVar("T")


class AsyncOpenedStore:
    """A database that is opened, and whose tables are made, on first use."""

    _opened: bool = False
    _touched: bool = False
    _closed: bool = False
    _shown_name: ClassVar[str] = "AsyncOpenedStore"

    def __init__(
        self, url: str, *, statement_cache: bool = True, timeout: float | None = 10.0, create: bool = True
    ) -> None:
        check_flag(statement_cache, "statement_cache")
        self._place: AsyncPlace = place_of(url, statement_cache=statement_cache, create=check_flag(create, "create"))
        self._timeout = check_timeout(timeout)
        self._binding = AsyncBinding(self._shown_name)
        self._opening = AsyncLock()

    async def __aenter__(self) -> Self:
        try:
            await self._use()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Release everything. Calling it again does nothing; every other method then raises `RuntimeError`."""
        if self._closed:
            return
        if self._touched:
            self._binding.check()
        self._closed = True
        await self._place.aclose()

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open" if self._opened else "unused"
        return f"<{self._shown_name} {self._place.name} {state}>"

    def __del__(self) -> None:
        if self._opened and not self._closed:
            warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=2)

    async def _read(self, make: Make[T], *args: Any) -> T:
        deadline = await self._use()
        return await self._place.read(make, *args, deadline=deadline)

    async def _erase(self, make: Make[T], *args: Any) -> T:
        deadline = await self._use()
        return await self._place.erase(make, *args, deadline=deadline)

    async def _write(self, make: Make[T], *args: Any, once: bool = False) -> T:
        deadline = await self._use()
        return await self._place.write(make, *args, deadline=deadline, once=once)

    async def _settled(self, count: int) -> int:
        if count:
            await self._place.settle(await self._use())
        return count

    async def _use(self) -> Deadline:
        if self._closed:
            raise RuntimeError(self._shown_name + " is closed")
        if self._binding.check():
            self._opening = AsyncLock()
        deadline = Deadline.after(self._timeout)
        if not self._opened:
            async with self._opening:
                if not self._opened:
                    self._touched = True
                    await self._place.open(deadline)
                    self._opened = True
        return deadline

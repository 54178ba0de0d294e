"""Waiting, in both forms: locks, gathering, sleeping, threads, and the binding of an instance to its loop.

The sync form needs no event loop, so what the other one needs is imported where it is used.
"""

from __future__ import annotations

import importlib
import inspect
import itertools
import math
import os
import threading
import time
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar, cast

from pydantic import BaseModel

from openmem.errors import InvalidRequestError

if TYPE_CHECKING:
    import asyncio

    import anyio

    from openmem._io.concurrency.call import Deadline

T = TypeVar("T")
A = TypeVar("A")

AsyncWork: TypeAlias = Callable[[A], Awaitable[T]]
Work: TypeAlias = Callable[[A], T]
"""Work on an object: a function whose result comes later, or at once."""

ThreadLock = threading.Lock


class AsyncLock:
    """Mutual exclusion among the tasks of one event loop."""

    def __init__(self) -> None:
        self._lock: asyncio.Lock | None = None

    async def __aenter__(self) -> None:
        if self._lock is None:
            import asyncio  # not by a constructor, which is to be done at once

            self._lock = asyncio.Lock()
        await self._lock.acquire()

    async def __aexit__(self, *exc_info: object) -> None:
        assert self._lock is not None, "it was entered"
        self._lock.release()


class Lock:
    """Mutual exclusion among threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *exc_info: object) -> None:
        self._lock.release()


class AsyncBinding:
    """Ties an object to the event loop of its first use.

    The loop itself is kept, not its `id`: an id is used again once its loop is gone.
    """

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._running_loop = _running_loop
        self._loop: asyncio.AbstractEventLoop | None = None

    def check(self) -> bool:
        """Bind on the first call; afterwards raise `RuntimeError` on any other loop.

        Returns:
            False: a loop does not outlive a fork, so neither does what is bound to it.
        """
        loop = self._running_loop()
        if self._loop is None:
            import asyncio

            self._loop, self._running_loop = loop, asyncio.get_running_loop
        elif self._loop is not loop:
            raise RuntimeError(f"{self._owner} is bound to a different event loop")
        return False


def _running_loop() -> asyncio.AbstractEventLoop:
    import asyncio  # a fiftieth of a second, which a constructor must not take; on a loop it is there already

    return asyncio.get_running_loop()


class Binding:
    """The sync form belongs to no loop; it only notices that the process was forked."""

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._pid = os.getpid()

    def check(self) -> bool:
        """Return whether the process was forked since the last call. Threads may share the object."""
        pid, self._pid = self._pid, os.getpid()
        return pid != self._pid


class AsyncBatches(Generic[T]):
    """Takes items in batches from a plain or an asynchronous iterable.

    Args:
        items: The items.
        name: What to call them in an error.
    """

    def __init__(self, items: Iterable[T] | AsyncIterable[T], name: str) -> None:
        self._later: AsyncIterator[T] | None = None
        _check_many(items, (Iterable, AsyncIterable), name)
        if isinstance(items, AsyncIterable):
            self._later = aiter(items)
        else:
            self._now: Iterator[T] = iter(items)

    async def take(self, count: int, size: int | None = None) -> list[T]:
        """Return the next `count` items, fewer at the end, none after it.

        Args:
            count: How many at most.
            size: The item that brings their texts to so many characters is the last.
        """
        if self._later is None:
            return _take(self._now, count, size)
        batch: list[T] = []
        room = math.inf if size is None else size
        while len(batch) < count and room > 0:
            try:
                batch.append(await anext(self._later))
            except StopAsyncIteration:
                break
            room -= _size_of(batch[-1])
        return batch


class Batches(Generic[T]):
    """Takes items in batches from an iterable.

    Args:
        items: The items.
        name: What to call them in an error.
    """

    def __init__(self, items: Iterable[T], name: str) -> None:
        _check_many(items, (Iterable,), name)
        self._now = iter(items)

    def take(self, count: int, size: int | None = None) -> list[T]:
        """Return the next `count` items, fewer at the end, none after it.

        Args:
            count: How many at most.
            size: The item that brings their texts to so many characters is the last.
        """
        return _take(self._now, count, size)


def _take(items: Iterator[T], count: int, size: int | None) -> list[T]:
    if size is None:
        return list(itertools.islice(items, count))
    batch: list[T] = []
    for item in itertools.islice(items, count):
        batch.append(item)
        size -= _size_of(item)
        if size <= 0:
            break
    return batch


def _size_of(item: object) -> int:
    return len(item) if isinstance(item, str) else 0


async def async_gather(*thunks: Callable[[], Awaitable[T]]) -> list[T]:
    """Run all at once and return their results in order; the first error cancels the rest."""
    import asyncio

    tasks = [asyncio.ensure_future(thunk()) for thunk in thunks]
    try:
        return list(await asyncio.gather(*tasks))
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


def gather(*thunks: Callable[[], T]) -> list[T]:
    """Run one after the other and return their results in order."""
    return [thunk() for thunk in thunks]


async def async_sleep(seconds: float) -> None:
    """Wait, letting others run."""
    import asyncio

    await asyncio.sleep(seconds)


def sleep(seconds: float) -> None:
    """Wait."""
    time.sleep(seconds)


async def async_to_thread(function: Callable[..., T], *args: Any) -> T:
    """Run a plain function in a worker thread; a cancelled caller returns at once, the worker finishes."""
    return await thread_of_loop(partial(function, *args), abandon=True)


async def thread_of_loop(function: Callable[[], T], *, abandon: bool, unlimited: bool = False) -> T:
    """Run a plain function in a worker thread.

    Args:
        function: The function.
        abandon: Whether a cancelled caller returns at once, and the worker finishes.
        unlimited: Whether it begins at once, however many workers are busy.
    """
    import asyncio

    loop = asyncio.get_running_loop()
    if getattr(loop, "_nest_patched", False):
        # anyio ends its threads when the loop's main task is done, which it learns from a callback that nest_asyncio
        # does not set: they would keep the process from ending. Those of the loop itself end with the process.
        context = copy_context()
        future = loop.run_in_executor(None, lambda: context.run(function))
        return await (future if abandon else asyncio.shield(future))
    await async_import_module(_ANYIO, None)
    import anyio.to_thread

    limiter = anyio.CapacityLimiter(math.inf) if unlimited else None
    return await anyio.to_thread.run_sync(function, abandon_on_cancel=abandon, limiter=limiter)


def to_thread(function: Callable[..., T], *args: Any) -> T:
    """Call the function."""
    return function(*args)


async def async_load(function: Callable[[], T], deadline: Deadline | None) -> T:
    """Call a function that imports modules, in a worker thread: the event loop never waits for the disk.

    Args:
        function: The function. It runs on when the caller goes away, and what it has imported stays.
        deadline: When to give up.

    Raises:
        DeadlineExceededError: The deadline came first.
    """
    import asyncio

    seconds = None if deadline is None else deadline.remaining()
    # Not by way of anyio, which would have to be imported first, here.
    loaded = asyncio.get_running_loop().run_in_executor(None, function)
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            return await loaded
    except TimeoutError:
        if deadline is None or not limit.expired():
            raise
        raise deadline.exceeded() from None


def load(function: Callable[[], T], deadline: Deadline | None) -> T:
    """Call a function that imports modules.

    Raises:
        DeadlineExceededError: The deadline is over before the start.
    """
    if deadline is not None:
        deadline.check()
    return function()


async def async_import_module(name: str, deadline: Deadline | None) -> Any:
    """Return a module that not every program needs; the first time it is imported in a worker thread.

    Args:
        name: The module.
        deadline: When to give up.

    Raises:
        DeadlineExceededError: The deadline came first.
    """
    # Not imported here and now even if that is quick: it reads files.
    return _imported.get(name) or await async_load(partial(_import, name), deadline)


def import_module(name: str, deadline: Deadline | None) -> Any:
    """Return a module that not every program needs.

    Args:
        name: The module.
        deadline: When to give up.

    Raises:
        DeadlineExceededError: The deadline is over before the module was imported.
    """
    return _imported.get(name) or load(partial(_import, name), deadline)


_ANYIO = "anyio.to_thread"  # a fiftieth of a second
_imported: dict[str, Any] = {}  # not `sys.modules`, which also holds what another thread is still importing


def _import(name: str) -> Any:
    module = importlib.import_module(name)
    if name == _ANYIO:
        with suppress(ImportError):  # else it would be imported by the first use, on the event loop
            importlib.import_module("anyio._backends._asyncio")
    return _imported.setdefault(name, module)


async def async_compute(function: Callable[..., T], *args: Any) -> T:
    """Run a plain function that computes for long in a worker thread, one after the other on each event loop.

    Several at once would not be done sooner, and would leave the loop less of the interpreter's time.
    """
    await async_import_module(_ANYIO, None)
    import anyio.to_thread

    return await anyio.to_thread.run_sync(function, *args, abandon_on_cancel=True, limiter=_turn())


def compute(function: Callable[..., T], *args: Any) -> T:
    """Call the function."""
    return function(*args)


async def async_compute_to_end(function: Callable[..., T], *args: Any) -> T:
    """Do the same with something that the caller goes on to use: a cancelled caller leaves once it has ended.

    What has not begun by then never does.
    """
    import asyncio

    first = threading.Lock()  # taken by the worker, the work begins; taken by the caller, it never does

    def begin() -> T | None:
        return function(*args) if first.acquire(blocking=False) else None

    work = asyncio.ensure_future(async_compute(begin))
    try:
        return cast(T, await asyncio.shield(work))
    except asyncio.CancelledError:
        # 1. It has not begun: it never will.
        # 2. It runs: the caller waits for its end, however often it is cancelled.
        if first.acquire(blocking=False):
            work.cancel()
        while not work.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([work])
        if not work.cancelled():
            work.exception()  # looked at, so that asyncio does not report it as never retrieved
        raise


def compute_to_end(function: Callable[..., T], *args: Any) -> T:
    """Call the function."""
    return function(*args)


def _turn() -> anyio.CapacityLimiter:
    """Return the limiter of this event loop that lets one function compute at a time."""
    import anyio.lowlevel

    global _turns
    if _turns is None:
        _turns = anyio.lowlevel.RunVar("openmem_turns")
    try:
        turn: anyio.CapacityLimiter = _turns.get()
    except LookupError:
        turn = anyio.CapacityLimiter(1)
        _turns.set(turn)
    return turn


_turns: Any = None


async def async_call(function: Callable[..., Any], *args: Any) -> Any:
    """Call a function of the user's: await it if it is a coroutine function, else run it in a worker."""
    if is_coroutine_function(function):
        return await function(*args)
    result = await async_to_thread(function, *args)
    return await result if inspect.isawaitable(result) else result


def call(function: Callable[..., Any], *args: Any) -> Any:
    """Call a function of the user's, which is a plain one."""
    return function(*args)


def _check_many(items: object, kinds: tuple[type, ...], name: str) -> None:
    # Each of these can be iterated over, but is one item at most.
    if isinstance(items, (str, bytes, Mapping, BaseModel)) or not isinstance(items, kinds):
        hint = "; an asynchronous one needs AsyncMemory" if isinstance(items, AsyncIterable) else ""
        raise InvalidRequestError(f"{name} must be an iterable{hint}")


def is_coroutine_function(function: Callable[..., Any]) -> bool:
    """Return whether calling the function, or the object, gives a coroutine."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - an object may define it as a coroutine
    )

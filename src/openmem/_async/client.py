"""The life of an instance: built without I/O, opened on first use, bound to where it is used, closed once."""

from __future__ import annotations

import os
import warnings
from dataclasses import replace
from types import TracebackType
from typing import Any, ClassVar, NoReturn, Self, SupportsIndex, TypeVar, Unpack, overload

from openmem._async.authorization.checked_reads import guarded
from openmem._async.deferred import begin
from openmem._async.embedders import AsyncEmbedder
from openmem._async.provider import AsyncProvider, check_understood
from openmem._async.verbs import plain_verb
from openmem._config.settings import resolve_settings
from openmem._io.concurrency.call import Call, Deadline, annotate_errors
from openmem._io.concurrency.primitives import AsyncBinding, AsyncLock, AsyncWork
from openmem._io.plugins import provider_of_scheme
from openmem._model.access import Access, IdempotencySeed
from openmem._model.arguments import BuiltInProvider, ProviderName, ProviderOptions
from openmem._model.checks import check_app, check_flag, check_instance, check_request_id, check_timeout
from openmem._model.retry import Retry
from openmem.errors import InvalidRequestError

T = TypeVar("T")


class AsyncClient:
    """The base of every verb.

    The constructor checks its arguments and does no I/O. The provider is loaded and opened by the first verb or on
    entering the context.
    """

    _opened: bool = False
    _touched: bool = False  # opened, or at least tried
    _closed: bool = False
    _root: AsyncClient | None = None  # whose provider this is, if it only acts for a caller
    _request_id: str | None = None
    _access: Access | None = None
    _seed: IdempotencySeed | None = None
    _shown_name: ClassVar[str] = "AsyncMemory"

    @overload
    def __init__(
        self,
        provider: BuiltInProvider | None = None,
        *,
        url: str | os.PathLike[str] | None = None,
        base_url: str | None = None,
        api_key: str | None = None,
        embedder: Any = None,
        app: str | None = None,
        timeout: float | None = 30.0,
        retry: Retry | None = None,
        create: bool = True,
        **options: Unpack[ProviderOptions],
    ) -> None: ...
    @overload
    def __init__(
        self,
        provider: ProviderName | None,
        *,
        url: str | os.PathLike[str] | None = None,
        base_url: str | None = None,
        api_key: str | None = None,
        embedder: Any = None,
        app: str | None = None,
        timeout: float | None = 30.0,
        retry: Retry | None = None,
        create: bool = True,
        **options: Any,
    ) -> None: ...
    def __init__(
        self,
        provider: str | None = None,
        *,
        url: str | os.PathLike[str] | None = None,
        base_url: str | None = None,
        api_key: str | None = None,
        embedder: Any = None,
        app: str | None = None,
        timeout: float | None = 30.0,
        retry: Retry | None = None,
        create: bool = True,
        **options: Any,
    ) -> None:
        settings = resolve_settings(provider, url, base_url, api_key, embedder, options, os.environ, provider_of_scheme)
        settings = replace(settings, create=check_flag(create, "create"), retry=check_instance(retry, Retry, "retry"))
        self._app = check_app(app)
        self._timeout = check_timeout(timeout)
        self._ingest_timeout = settings.ingest_timeout
        self._provider: AsyncProvider = begin(settings)
        self._embedder: AsyncEmbedder | None = self._provider.embedder
        self._binding = AsyncBinding(self._shown_name)
        self._opening = AsyncLock()

    async def __aenter__(self) -> Self:
        try:
            await self._use(self._call(None), _nothing)
        except BaseException:
            await self.close()  # nothing else does: the block is never entered
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        """Refuse to be pickled or copied: connections and threads belong to one object of one process.

        Raises:
            TypeError: Always.
        """
        name = type(self).__name__
        raise TypeError(
            f"{name} cannot be pickled or copied: make another {name} from the same arguments where it is used"
        )

    async def close(self) -> None:
        """Release everything. Calling it again does nothing; every other verb then raises `RuntimeError`."""
        if self._closed or self._root is not None:
            return
        if self._touched:
            self._binding.check()
        self._closed = True
        if self._touched:
            await self._provider.aclose()
        if self._embedder is not None:
            await self._embedder.aclose()

    @property
    def place(self) -> str | None:
        """The location of the store, as a file or an address without secrets; `None` if it has no such location."""
        return (self._root or self)._provider.place

    @property
    def made_store(self) -> bool:
        """Whether this instance made the store, as there was none when it was opened."""
        return (self._root or self)._provider.made

    @plain_verb
    def for_caller(
        self,
        *,
        access: Access | None = None,
        app: str | None = None,
        request_id: str | None = None,
        timeout: float | None = None,
        seed: IdempotencySeed | None = None,
    ) -> Self:
        """Return this instance as seen by one caller: same provider, same connections.

        It costs next to nothing, as often as once per request. It needs no `close`: closing it does nothing.
        What is not given is as in this instance.

        Args:
            access: What the caller may do; every verb is checked against it. It cannot be exchanged for another.
            app: Who calls, for the audit log.
            request_id: The id of the request, for the audit log and for errors: 1 to 64 letters, digits, `.`, `_`, `-`.
            timeout: Seconds that a verb may take.
            seed: Makes one `add` or `add_many` repeatable: sent again with the same seed, it stores nothing and
                returns what is stored.

        Raises:
            InvalidRequestError: An argument is wrong, or this instance has another access already.
        """
        if self._access is not None and access is not None and access != self._access:
            raise InvalidRequestError("access: this instance acts for another caller already")
        view = object.__new__(type(self))
        vars(view).update(vars(self), _root=self._root or self, _opened=False)
        view._access = check_instance(access, Access, "access") or self._access
        view._app = self._app if app is None else check_app(app)
        view._request_id = self._request_id if request_id is None else check_request_id(request_id)
        view._timeout = self._timeout if timeout is None else check_timeout(timeout)
        view._seed = check_instance(seed, IdempotencySeed, "seed") or self._seed
        return view

    @plain_verb
    def acting(
        self,
        *,
        access: Access | None = None,
        app: str | None = None,
        request_id: str | None = None,
        timeout: float | None = None,
        seed: IdempotencySeed | None = None,
    ) -> Self:
        """Deprecated: the old name of `for_caller`, with the same arguments. It goes in the next version."""
        warnings.warn("acting() is called for_caller(); the old name goes in the next version", DeprecationWarning, 3)
        return self.for_caller(access=access, app=app, request_id=request_id, timeout=timeout, seed=seed)

    def __repr__(self) -> str:
        if self._root is not None:
            return repr(self._root)
        state = "closed" if self._closed else "open" if self._opened else "unused"
        return f"<{self._shown_name} provider={self._provider.name!r} {state}>"

    def __del__(self) -> None:
        if self._opened and not self._closed:
            warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=2)

    def _call(self, timeout: float | None, *, limited: bool = True) -> Call:
        if self._root is not None:
            own = self._timeout if limited else None
            call = self._root._call(own if timeout is None else timeout, limited=limited)
            return call.for_caller(self._app, self._request_id, self._access, self._seed)
        if self._closed:
            raise RuntimeError(self._shown_name + " is closed")
        if self._binding.check():
            self._opening = AsyncLock()
            self._provider.forked()
        own = self._timeout if limited else None
        seconds = own if timeout is None else check_timeout(timeout)
        return Call(app=self._app, deadline=Deadline.after(seconds))

    async def _use(self, call: Call, action: AsyncWork[AsyncProvider, T], request: object = None) -> T:
        """Do something with the provider, opened; a request that it does not understand is refused."""
        if self._root is not None:
            return await self._root._use(call, action, request)
        with annotate_errors(call, self._provider):
            if not self._opened:
                await self._open(call)
            if request is not None:
                check_understood(self._provider, request)
            if call.access is not None:
                return await action(guarded(self._provider, call.access))
            return await action(self._provider)

    async def _open(self, call: Call) -> None:
        async with self._opening:
            if not self._opened:
                self._touched = True
                self._provider = await self._provider.resolve(call)
                self._embedder = self._provider.embedder
                self._opened = True


async def _nothing(provider: AsyncProvider) -> None:
    return None

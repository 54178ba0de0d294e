"""A provider that is named and not loaded yet: its class is imported by the first verb, where that waits."""

from __future__ import annotations

from openmem._async.embedders import AsyncEmbedder, AsyncRemoteEmbedder, resolve_embedder
from openmem._async.provider import AsyncProvider
from openmem._config.settings import Settings, check_options
from openmem._io.concurrency.call import Call
from openmem._io.concurrency.primitives import async_load
from openmem._io.plugins import ProviderClass, find_async_provider
from openmem.errors import InvalidRequestError


def begin(settings: Settings) -> AsyncProvider:
    """Return a provider for a new instance, after all checks that need no class.

    Raises:
        InvalidRequestError: An argument is wrong, or something is missing.
        UnsupportedProviderError: There is no such provider.
    """
    found = find_async_provider(settings.entrance)
    given = (settings.options, settings.embedder is not None, settings.retry)
    if found.spec.options is None and any(given):
        return _made(found.load(), settings)  # only the class knows whether these are right
    checked = found.check(settings)
    embedder = _embedder_of(settings) if found.spec.embeds else None
    _check_retry(settings, found.spec.takes_retry, embedder)
    return AsyncDeferredProvider(found, settings, embedder, checked)


class AsyncDeferredProvider(AsyncProvider):
    """Stands for a provider until its first verb.

    Args:
        found: Where its class is.
        settings: What it is to be built from; they were checked.
        embedder: Its embedder, or `None`.
        checked: The outcome of the provider's check. If it has a `place`, that is where the store is; else it is the
            address.
    """

    def __init__(
        self, found: ProviderClass, settings: Settings, embedder: AsyncEmbedder | None, checked: object
    ) -> None:
        super().__init__(settings, embedder)
        self.name = found.spec.name  # type: ignore[misc]  # that of the provider it stands for
        self._found, self._checked = found, checked
        self._provider: AsyncProvider | None = None
        self._closed = False

    @property
    def place(self) -> str | None:
        """The location of the store. It is on every error, so nothing is loaded to know it."""
        if self._provider is not None:
            return self._provider.place
        place: str | None = getattr(self._checked, "place", None)
        return super().place if place is None else place

    @property
    def made(self) -> bool:  # type: ignore[override]
        """Whether opening made the store."""
        return self._provider is not None and self._provider.made

    def forked(self) -> None:
        """Have the provider drop what must not cross a fork, if there is one."""
        if self._provider is not None:
            self._provider.forked()

    async def resolve(self, call: Call) -> AsyncProvider:
        """Load and make the provider, and return the one that does the verbs, opened."""
        if self._provider is None:
            kind = self._found.loaded or await async_load(self._found.load, call.deadline)
            if self._closed:
                raise RuntimeError("AsyncMemory is closed")
            self._provider = self._make(kind)
        return await self._provider.resolve(call)

    def _make(self, kind: type[AsyncProvider]) -> AsyncProvider:
        known = self._found.spec.options is not None and self._found.spec.embeds == kind.embeds
        return kind(self.settings, self.embedder) if known else _made(kind, self.settings)

    async def aclose(self) -> None:
        """Release what the provider holds, if there is one."""
        self._closed = True
        if self._provider is not None:
            await self._provider.aclose()


def _made(kind: type[AsyncProvider], settings: Settings) -> AsyncProvider:
    if settings.provider == settings.entrance:
        check_options(settings.provider, settings.options, kind.options)
    embedder = _embedder_of(settings) if kind.embeds else None
    _check_retry(settings, kind.takes_retry, embedder)
    return kind(settings, embedder)


def _embedder_of(settings: Settings) -> AsyncEmbedder | None:
    return resolve_embedder(settings.embedder, retry=settings.retry)


def _check_retry(settings: Settings, taken: bool, embedder: AsyncEmbedder | None) -> None:
    """Refuse a policy that nothing would follow: neither the provider nor its embedder makes requests over HTTP."""
    if settings.retry is None or taken or isinstance(embedder, AsyncRemoteEmbedder):
        return
    message = (
        f"retry: provider {settings.provider!r} makes no requests over HTTP, and neither does its embedder; retry= is "
        "for providers that do, and for embedders of the form openai:MODEL"
    )
    raise InvalidRequestError(message, provider=settings.provider)

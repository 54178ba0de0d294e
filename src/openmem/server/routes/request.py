"""One request on its way through a verb: its caller, its content, and the memory as that caller sees it."""

from __future__ import annotations

import math
import re
from collections.abc import Awaitable
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import unquote_to_bytes

from openmem import AsyncMemory, DeadlineExceededError, IdempotencySeed, InvalidRequestError
from openmem._protocol.json_bodies import check_json_type, parse_object
from openmem._protocol.query_string import Parameters
from openmem._protocol.request_heads import fields_of
from openmem.server.routes.bodies import read_body, skip_body
from openmem.server.services.authentication import ANONYMOUS_ID, Caller
from openmem.server.services.current_request import MIN_TIME_AFTER_WRITE
from openmem.server.services.timing import clock, off_loop, within

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope

    from openmem.server.services.service import Service

T = TypeVar("T")

PARSED_AT_ONCE: Final = 8 * 1024
"""Bytes of JSON that the event loop parses itself, in a millisecond at most."""
MAX_WAIT: Final = 86_400.0

_TIME_IS_UP: Final = "the time for the request is up"

_SECONDS: Final = re.compile(r"[0-9]{1,30}(\.[0-9]{1,400})?([eE][+-]?[0-9]{1,3})?", re.ASCII)


class RequestContext:
    """The context that a handler works with.

    Attributes:
        service: What all requests share.
        scope: The request as the web server saw it.
        receive: Where its body comes from.
        caller: The sender.
        request_id: Its id in the audit log, in logs and in errors.
        body: Its body, if the route reads one as a whole.
        is_admitted: Whether it counts among the requests that run at once.
    """

    body: bytes = b""
    _fields: dict[str, Any]
    is_admitted: bool = False
    _parsed: int = 0
    _min_time: float = 0.0

    def __init__(self, service: Service, scope: Scope, receive: Receive, caller: Caller, request_id: str) -> None:
        self.service = service
        self.scope = scope
        self.receive = receive
        self.caller = caller
        self.request_id = request_id
        self._began = clock()

    @cached_property
    def headers(self) -> dict[bytes, bytes]:
        """The headers, by their names in lower case.

        Raises:
            InvalidRequestError: One that has a single value was given twice.
        """
        known: dict[bytes, bytes] | None = self.scope.get("state", {}).get("fields")
        return fields_of(self.scope["headers"]) if known is None else known

    @cached_property
    def query(self) -> Parameters:
        """The parameters of the query string."""
        return Parameters(self.scope["query_string"])

    @cached_property
    def app(self) -> str | None:
        """The app that the audit log names: that of the key, or without keys the one that the client says."""
        said = self.header("x-omp-app")
        if self.caller.id == ANONYMOUS_ID:
            return said
        if said is not None:
            self.service.memory.for_caller(app=said)  # a wrong header is refused, even one that counts for nothing
        return self.caller.app

    @property
    def timeout(self) -> float | None:
        """Seconds left for the verb, of what the server allows, or of less if the client waits less long."""
        own, wanted = self.service.timeout, self.client_timeout
        whole = own if wanted is None else min(wanted, MAX_WAIT if own is None else own)
        return None if whole is None else whole - (clock() - self._began)

    def mark_write_started(self) -> None:
        """Note that a write is about to begin: what must follow it has at least `MIN_TIME_AFTER_WRITE` seconds."""
        self._min_time = MIN_TIME_AFTER_WRITE

    async def in_time(self, work: Awaitable[T], *, least: float = 0.0) -> T:
        """Return what `work` returns, for what is not a verb and has no limit of its own.

        Args:
            work: What is to be done.
            least: Seconds that it may take even if less is left.

        Raises:
            DeadlineExceededError: It took longer than a verb may take.
        """
        try:
            return await within(work, self._limit(max(least, self._min_time)))
        except TimeoutError:
            raise DeadlineExceededError(_TIME_IS_UP) from None

    def _limit(self, least: float) -> float | None:
        try:
            left = self.timeout
            return None if left is None else max(least, left)
        except InvalidRequestError:  # which the verb will say; who asks comes first
            return self.service.timeout

    @cached_property
    def client_timeout(self) -> float | None:
        """Seconds that the client is willing to wait, if it says so."""
        text = self.header("x-omp-timeout")
        if text is None:
            return None
        seconds = float(text) if _SECONDS.fullmatch(text) else math.nan
        if not 0 < seconds < math.inf:
            raise InvalidRequestError("X-OMP-Timeout must be a number of seconds above 0")
        return seconds

    def header(self, name: str) -> str | None:
        """Return the text of a header.

        Raises:
            InvalidRequestError: It is not UTF-8.
        """
        value = self.headers.get(name.encode("ascii"))
        if value is None:
            return None
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise InvalidRequestError(f"the header {name} must be UTF-8") from None

    async def check_key(self) -> None:
        """Check again that the key works, in the middle of a stream: it may have been revoked, or have expired.

        Raises:
            UnauthorizedError: It does not work any more, at most two seconds after its revocation.
        """
        found = self.service.callers.identify(self.scope["headers"])
        self.caller = await self.in_time(found, least=MIN_TIME_AFTER_WRITE)

    async def receive_while_allowed(self) -> Message:
        """Return the next part of a long body; for one that brings anything, or ends it, the key must still work."""
        message = await self.receive()
        if not message.get("more_body") or not message["body"].isspace():
            await self.check_key()
        return message

    def begin_again(self) -> None:
        """Begin the time for the verb again, as a stream does for each page."""
        self._began = clock()

    def memory(self, seed: IdempotencySeed | None = None) -> AsyncMemory:
        """Return the memory as the caller may use it.

        Args:
            seed: Makes an `add` repeatable.
        """
        left = self.timeout
        if left is not None and left <= 0:
            raise DeadlineExceededError(_TIME_IS_UP)
        return self.service.memory.for_caller(
            access=self.caller.access, app=self.app, request_id=self.request_id, timeout=left, seed=seed
        )

    def user(self, *named: str | None) -> str:
        """Return whose memories are meant: the user named here, or the one to whom the key is bound.

        Raises:
            InvalidRequestError: No user is named.
        """
        user_id = self.user_or_any(*named)
        if user_id is None:
            raise InvalidRequestError("user_id is required: user_id must be a non-empty string")
        return user_id

    def user_or_any(self, *named: str | None) -> str | None:
        """Return the same, or `None` if no user is named and the key reaches any user.

        Raises:
            InvalidRequestError: Two different users are named.
        """
        users = {user_id for user_id in named if user_id is not None}
        if len(users) > 1:
            raise InvalidRequestError("the request names two different users")
        return users.pop() if users else self.caller.access.user_id

    def owner(self, *named: str | None) -> str | None:
        """Return whose a memory must be that is named by its id: by `X-User-Id`, the query, or the key."""
        return self.user_or_any(self.header("x-user-id"), self.query.text("user_id"), *named)

    def id(self) -> str:
        """Return the id in the path.

        Raises:
            InvalidRequestError: It is not percent-encoded UTF-8.
        """
        return self._in_path("id")

    def key(self) -> str:
        """Return the key in the path, as `id` returns an id."""
        return self._in_path("key")

    def _in_path(self, name: str) -> str:
        try:
            return unquote_to_bytes(self.scope["path_params"][name]).decode()
        except UnicodeDecodeError:
            raise InvalidRequestError(f"{name} must be percent-encoded UTF-8") from None

    async def read(self) -> None:
        """Read the body, which must be said to be JSON, and parse it. The time for the verb begins again."""
        check_json_type(self.header("content-type"), self.header("content-encoding"))
        with self.service.bodies.reading() as reading:
            self.body = await read_body(self.receive, reading)
            self._began = clock()
            if len(self.body) <= PARSED_AT_ONCE:
                self._fields = parse_object(self.body)
                return
            self._parsed = await self.in_time(self.service.parsed.take(self.body))
            self._fields = await off_loop(parse_object, self.body)

    async def close(self) -> None:
        """Let go of what the request held."""
        if self.is_admitted:
            self.service.admission.release()
        if self._parsed:
            if "_fields" in vars(self):
                await off_loop(self._fields.clear)  # to free hundreds of thousands of values takes long, too
            await self.service.parsed.give_back(self._parsed)

    async def skip(self) -> None:
        """Take and drop a body that the route does not read, so that the connection can be used again."""
        await skip_body(self.receive)
        self._began = clock()

    def json(self) -> dict[str, Any]:
        """Return the JSON object in the body."""
        return self._fields

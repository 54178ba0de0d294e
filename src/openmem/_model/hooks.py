"""Hooks: addresses that are told of changes. Pure: random bytes and times are arguments."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal, get_args

from openmem._model.checks import check_choice, check_text
from openmem._model.feed import FeedQuery
from openmem._model.scopes import EVERYTHING, ScopePattern, parse_pattern
from openmem._model.urls import parse_url
from openmem.errors import InvalidRequestError
from openmem.types import Change, ChangeAction

MAX_URL: Final = 2_048
MAX_HOOKS: Final = 100
SECRET_BYTES: Final = 32
EVENTS: Final = get_args(ChangeAction)

HookState = Literal["active", "disabled"]

_PREFIX: Final = "whsec_"
_HOOK_ID: Final = re.compile(r"hook_[0-9a-z]{12}")
_FORBIDDEN: Final = re.compile(r"[^\x21-\x7e]")


@dataclass(frozen=True, slots=True)
class HookInfo:
    """A hook without its secret.

    Attributes:
        id: Its name.
        url: The address that is told of changes; it may hold a secret of the receiver's.
        user_id: The only user whose changes it is told of; `None` is any user.
        scope: The only scopes whose changes it is told of, such as `coding/*`; `None` is all.
        events: The only actions it is told of; empty is all.
        content: Whether a message holds the memories as they are when it is sent.
        state: `active`, or `disabled`: then nothing is sent until it is enabled again.
        created_at: The time at which it was made.
        failures: Attempts in a row that failed.
        next_at: The time before which nothing is tried.
        delivered_at: The time of the last message that was taken, or `None`.
        last_error: The reason why the last attempt failed; `None` after one that did not.
        dead_letters: Messages that were given up, and can be sent again.
    """

    id: str
    url: str = field(repr=False)
    user_id: str | None = field(repr=False)
    scope: str | None
    events: tuple[str, ...]
    content: bool
    state: HookState
    created_at: datetime
    failures: int = 0
    next_at: datetime | None = None
    delivered_at: datetime | None = None
    last_error: str | None = None
    dead_letters: int = 0

    @property
    def pattern(self) -> ScopePattern:
        """The scopes whose changes it is told of."""
        return EVERYTHING if self.scope is None else parse_pattern(self.scope)

    def wants(self, change: Change) -> bool:
        """Return whether it is to be told of a change; of an erasure, if that may be of what it is told of."""
        if self.user_id is not None and change.user_id != self.user_id:
            return False
        if self.events and change.action not in self.events:
            return False
        return FeedQuery(None, visible=(self.pattern,)).shows(change.memory_id, change.scope)


@dataclass(frozen=True, slots=True)
class NewHook:
    """A hook that was just made, and the `secret` that its messages are signed with: `whsec_` and Base64."""

    info: HookInfo
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that was given up. It holds no change, only where in the feed they are.

    Attributes:
        id: The id of the message.
        hook_id: The hook.
        changes: How many changes it told of.
        attempts: How often it was tried.
        error: The reason why the last attempt failed.
        failed_at: The time of the last attempt.
        waiting: Whether it is to be sent again.
        begin: The cursor before its first change.
        end: The name of its last change.
    """

    id: str
    hook_id: str
    changes: int
    attempts: int
    error: str
    failed_at: datetime
    waiting: bool
    begin: str = field(repr=False)
    end: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class HookAtWork:
    """A hook as its deliverer sees it.

    Attributes:
        info: What others see.
        secret: The secret that signs its messages.
        since: Changes before this time are none of its; `None` after the feed was once read to its end.
        cursor: Changes up to it are delivered; empty is the beginning of the feed.
        pin: The name of the last change of the message that is being tried; empty if there is none.
        missed: Whether changes were removed from the feed before it was told of them.
        read_at: The time at which the cursor was last stored.
    """

    info: HookInfo
    secret: str = field(repr=False)
    since: datetime | None
    cursor: str
    pin: str
    missed: bool
    read_at: datetime


def hook_id_of(key_id: str) -> str:
    """Return the id of a hook, from twelve random characters."""
    return f"hook_{key_id}"


def is_hook_id(text: object) -> bool:
    """Return whether this has the form of a hook's id."""
    return isinstance(text, str) and _HOOK_ID.fullmatch(text) is not None


def new_hook_secret(token: bytes) -> str:
    """Return the secret that random bytes make."""
    return _PREFIX + base64.b64encode(token).decode()


def secret_key(secret: str) -> bytes:
    """Return the bytes that messages are signed with.

    Raises:
        InvalidRequestError: This is no secret of a hook.
    """
    try:
        return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequestError("secret must be whsec_ and Base64") from None


def check_hook_url(value: object) -> str:
    """Return an address that can be told of changes.

    Raises:
        InvalidRequestError: It is no address of HTTP, or has a user, a password or a fragment.
    """
    text = check_text(value, "url", MAX_URL, control=False)
    if _FORBIDDEN.search(text):
        raise InvalidRequestError("url must be ASCII without spaces: write other characters as %XX, a name as xn--…")
    url = parse_url(text)
    if url.scheme not in ("http", "https"):
        raise InvalidRequestError("url must begin with https:// or http://")
    if len(url.hosts) != 1 or not url.hosts[0][0]:
        raise InvalidRequestError("url must name one host")
    # Two readers of an address may disagree about a backslash: where the host ends must be beyond doubt.
    if url.user is not None or url.password is not None or "\\" in text:
        raise InvalidRequestError("url must have no user, no password and no backslash")
    if "#" in text:
        raise InvalidRequestError("url must have no fragment (#)")
    return text


def check_events(value: object) -> tuple[str, ...]:
    """Return actions without repetitions; none is all.

    Raises:
        InvalidRequestError: One of them is no action of the feed.
    """
    if value is None:
        return ()
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise InvalidRequestError(f"events must be a list, not {type(value).__name__}")
    return tuple(dict.fromkeys(check_choice(event, EVENTS, f"events[{at}]") for at, event in enumerate(value)))

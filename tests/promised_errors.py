"""An error that a fault promises: of its kind, in bounded time, and without the password that the address holds."""

from __future__ import annotations

import json
import re
import time
import traceback
from types import TracebackType
from urllib.parse import urlsplit

from openmem import OMPError

SECRET = "correct-horse-battery"
_INNARDS = re.compile(r"127\.0\.0\.1|localhost|\b(select|insert|update|delete)\b", re.IGNORECASE)


def with_secret(url: str, *, port: int | None = None) -> str:
    """Return the address with a password in it, and with another port if one is given."""
    parts = urlsplit(url)
    place = f"{parts.hostname}:{port or parts.port or 5432}"
    return parts._replace(netloc=f"{parts.username}:{parts.password or SECRET}@{place}").geturl()


class fails:  # noqa: N801 - read as a verb, as pytest.raises is
    """Expect an error of exactly this kind from the block, in time.

    Args:
        kind: The kind.
        text: A pattern that occurs in its message.
        within: Seconds in which the block ends.
    """

    def __init__(self, kind: type[OMPError], text: str = "", *, within: float) -> None:
        self._kind, self._text, self._within = kind, text, within

    def __enter__(self) -> None:
        self._started = time.monotonic()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        took = time.monotonic() - self._started
        assert error is not None, f"nothing failed in {took:.2f} s"
        if type(error) is not self._kind:
            return False
        assert isinstance(error, OMPError)
        assert error.code == self._kind.code
        assert re.search(self._text, error.message), error.message
        assert took < self._within, f"{took:.2f} s"
        assert SECRET not in shown(error)
        assert not _INNARDS.search(f"{error}{error!r}{error.details}")
        return True


def shown(error: OMPError) -> str:
    """Return everything of an error that a log or a reply could show, its causes included."""
    return "".join(traceback.format_exception(error)) + repr(error) + json.dumps(error.to_envelope())

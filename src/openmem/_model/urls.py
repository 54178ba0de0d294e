"""URLs and paths of stores and services: read in one place, shown in one form. Pure.

What cannot be read is never quoted, in no part: the part that looks like a host may be half of a password. For the
same reason nothing here raises while another exception is handled, since that would stay behind as the context.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final
from urllib.parse import unquote_to_bytes

from openmem.errors import InvalidRequestError

UNREADABLE: Final = "(an address that cannot be read)"
ENCODING: Final = (
    "in a user name or password write @ as %40, : as %3A, / as %2F, ? as %3F, # as %23, [ as %5B, ] as %5D, % as %25, "
    "a space as %20"
)

_SHAPE: Final = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<path>[^?#]*)"
    r"(?:\?(?P<query>[^#]*))?(?:#(?P<fragment>.*))?",
    re.DOTALL,
)
_BAD_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_LABEL: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_MAX_HOST: Final = 253
_MAX_SHOWN: Final = 60
# Texts that are meant as an address and are no path: a connection string in words, a URL with a slip, or without
# its scheme. A file that is really called so can be named with ./ before it.
_KEYWORDS: Final = re.compile(
    r"\s*(?:host|hostaddr|port|dbname|database|user|username|password|passfile|service|sslmode|options|server|uid|pwd"
    r"|user id|data source)\s*=",
    re.IGNORECASE,
)
_SLIP: Final = re.compile(r"['\"\s]*(?:postgres(?:ql)?|sqlite|https?)(?:\+\w+)?:(?!//)", re.IGNORECASE)
_CREDENTIALS: Final = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*(?::|(?=//)))?/{0,2}[^/\\@:]*:(?![/\\])[^@]*@", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Url:
    """A URL in its parts; user and password are decoded, everything else is as it was written.

    Attributes:
        scheme: In lower case.
        user: The user name, if there is one.
        password: The password, if there is one.
        hosts: Hosts and ports, decoded; more than one only where a database has several.
        path: The path with its first slash, or nothing.
        query: What follows the question mark.
        fragment: What follows the hash sign.
    """

    scheme: str
    user: str | None = field(repr=False)
    password: str | None = field(repr=False)
    hosts: tuple[tuple[str, int | None], ...]
    path: str
    query: str = field(repr=False)
    fragment: str = field(repr=False)

    @property
    def place(self) -> str:
        """The hosts and ports, to be shown."""
        return ",".join(f"{_bracketed(host)}:{port}" if port else _bracketed(host) for host, port in self.hosts)


def is_url(text: str) -> bool:
    """Return whether a text is meant as a URL, and not as a path."""
    return "://" in text


@lru_cache(maxsize=16)  # an instance for each request reads the same address again and again
def parse_url(text: str, name: str = "url") -> Url:
    """Return the parts of a URL.

    Args:
        text: The URL; blanks around it are dropped.
        name: What the errors call it.

    Raises:
        InvalidRequestError: It cannot be read. The message quotes nothing of it.
    """
    match = _SHAPE.fullmatch(text.strip())
    if match is None:
        raise _refused(name, "it must begin with a scheme such as postgresql:// or https://")
    if _CONTROL.search(match[0]):
        raise _refused(name, "it must not hold control characters")
    userinfo, at, place = match["authority"].rpartition("@")
    if not at and ":" in place and "@" in match[0]:
        raise _refused(name, f"there is an @ behind the host: {ENCODING}")
    if _is_ambiguous(match["authority"]) or re.search(r"[\s\[\]@]", userinfo):
        raise _refused(name, ENCODING + "; leave out the brackets of a template")
    user, colon, password = userinfo.partition(":")
    return Url(
        scheme=match["scheme"].lower(),
        user=decode(user, name) if user else None,
        password=decode(password, name) if colon else None,
        hosts=tuple(_host(part, name) for part in place.split(",")) if place else (),
        path=match["path"],
        query=match["query"] or "",
        fragment=match["fragment"] or "",
    )


def decode(text: str, name: str = "url") -> str:
    """Return a text without its percent-encoding.

    Raises:
        InvalidRequestError: A percent sign begins no code, or the bytes are no UTF-8 text.
    """
    if "%" not in text:
        return text
    decoded = None if _BAD_PERCENT.search(text) else _as_text(unquote_to_bytes(text))
    if decoded is None or "\0" in decoded:
        raise _refused(name, "a % must begin the code of a character, as in %40; % itself is %25")
    return decoded


def check_path(text: str, name: str = "url") -> str:
    """Return a path, unless it is a URL or a connection string that was written wrongly.

    Raises:
        InvalidRequestError: It looks like one; the message quotes nothing of it.
    """
    if _KEYWORDS.match(text):
        raise _refused(name, "write postgresql://user:password@host:port/database instead of keywords with =")
    if _SLIP.match(text) or _CREDENTIALS.match(text):
        raise _refused(name, "it looks like a URL; a URL begins with postgresql://, sqlite:///, http:// or https://")
    return text


def is_bare_name(text: str) -> bool:
    """Return whether a text is a single word: neither a URL, nor a path that has a folder or a suffix."""
    return not any(sign in text for sign in "/\\.:")


def check_file_name(text: str, name: str = "url") -> str:
    """Return a path that was written as text, unless it is a single word, which may be anything that was mistyped.

    Raises:
        InvalidRequestError: It is one; the message says how to name a file that is really called so.
    """
    if is_bare_name(text):
        word = text if text.isprintable() and len(text) <= _MAX_SHOWN else "FILE"
        raise InvalidRequestError(
            f"{name}: a single word is no address; for a file write ./{word} or {word}.db, "
            "for a server postgresql://… or https://…"
        )
    return check_path(text, name)


def redacted_url(url: str) -> str:
    """Return a URL to be shown: without user, password, query and fragment. A path stays as it is.

    Args:
        url: A URL or a path. It may be unreadable; then nothing of it is shown.
    """
    try:
        if not is_url(url):
            return check_path(url)
        parts = parse_url(url)
    except InvalidRequestError:
        return UNREADABLE
    return f"{parts.scheme}://{parts.place}{parts.path}"


def _refused(name: str, why: str) -> InvalidRequestError:
    return InvalidRequestError(f"{name} cannot be read: {why}")


def _is_ambiguous(authority: str) -> bool:
    """Return whether compatibility characters hide a separator: other programs would read another host."""
    bare = authority.translate(dict.fromkeys(map(ord, "@:#?")))
    return not bare.isascii() and any(c in unicodedata.normalize("NFKC", bare) for c in "/?#@:[]")


def _host(text: str, name: str) -> tuple[str, int | None]:
    inner = re.fullmatch(r"\[([^\[\]]+)\](?::([^\[\]]*))?", text)
    host, port = (inner[1], inner[2] or "") if inner else (text.partition(":")[0], text.partition(":")[2])
    host = decode(host, name)
    is_right = _is_ipv6(host) if inner else is_host(host)
    if not is_right:
        raise _refused(name, "its host is no name, address or path of a socket (IPv6 goes in brackets)")
    return host, parse_port(port, name)


def parse_port(text: str, name: str = "url") -> int | None:
    """Return a port; nothing if there is none.

    Raises:
        InvalidRequestError: It is no number from 1 to 65535.
    """
    if not text:
        return None
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 0 < int(text) < 65_536:
        raise _refused(name, "a port must be a number from 1 to 65535")
    return int(text)


def is_host(host: str) -> bool:
    """Return whether a text can be a host: a name, an address, or the folder of a socket."""
    if host.startswith("/") or _is_ipv6(host):
        return True
    ascii_form = host if host.isascii() else _as_ascii(host)
    return len(ascii_form) <= _MAX_HOST and all(
        _LABEL.fullmatch(label) for label in ascii_form.removesuffix(".").split(".")
    )


def _is_ipv6(text: str) -> bool:
    address, zone, name = text.partition("%")
    if ":" not in address:
        return False
    try:
        ipaddress.IPv6Address(address)
    except ValueError:
        return False
    return bool(re.fullmatch(r"[\w.-]+", name)) if zone else True


def _as_ascii(host: str) -> str:
    try:
        return host.encode("idna").decode("ascii")
    except UnicodeError:
        return ""


def _as_text(data: bytes) -> str | None:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host

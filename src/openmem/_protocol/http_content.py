"""The body of a reply as it is decoded, piece by piece, so that no input makes more than a little output at once. Pure.

A kilobyte of gzip can stand for a megabyte, and one of gzip in gzip for a gigabyte. So one encoding is taken, one of
those that were asked for, and what it gives is counted before there is more of it.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import Final

ACCEPTED: Final = "gzip, deflate"
"""The value that requests send as `Accept-Encoding`."""
PIECE: Final = 65_536
"""The most bytes that one step of decoding gives."""

_GZIP: Final = zlib.MAX_WBITS | 16
_RAW_DEFLATE: Final = -zlib.MAX_WBITS


class EncodingError(ValueError):
    """A body cannot be decoded; the text says why and quotes nothing of it."""


class BodyDecoder:
    """Decodes a body.

    Args:
        encodings: The values of `Content-Encoding`, in order.

    Raises:
        EncodingError: There is more than one, or one that was not asked for.
    """

    def __init__(self, encodings: Sequence[str] = ()) -> None:
        given = [each.strip().lower() for each in encodings if each.strip().lower() not in ("", "identity")]
        if len(given) > 1:
            raise EncodingError("a body that is encoded more than once")
        name = given[0] if given else None
        if name not in (None, "gzip", "x-gzip", "deflate"):
            raise EncodingError("a body in an encoding that was not asked for")
        self._deflate = name == "deflate"
        self._zlib = None if name is None else zlib.decompressobj(zlib.MAX_WBITS if self._deflate else _GZIP)
        self._begun = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what a part of the body stands for, at most `PIECE` bytes at a time.

        Raises:
            EncodingError: It is not what its encoding says.
        """
        if self._zlib is None:
            yield data
            return
        try:
            rest = data
            while rest and not self._zlib.eof:
                piece = self._step(rest)
                rest = self._zlib.unconsumed_tail
                if piece:
                    yield piece
            # What was taken in may stand for more than was given out.
            while not self._zlib.eof and (piece := self._zlib.decompress(b"", PIECE)):
                yield piece
        except zlib.error:
            raise EncodingError("a body that cannot be decoded") from None

    def finish(self) -> None:
        """Check that the body is whole.

        Raises:
            EncodingError: It breaks off.
        """
        if self._zlib is not None and self._begun and not self._zlib.eof:
            raise EncodingError("a body that breaks off")

    def _step(self, data: bytes) -> bytes:
        assert self._zlib is not None
        first, self._begun = not self._begun, True
        try:
            return self._zlib.decompress(data, PIECE)
        except zlib.error:
            if not (first and self._deflate):
                raise
        # Some servers leave out the frame that the name stands for.
        self._zlib = zlib.decompressobj(_RAW_DEFLATE)
        return self._zlib.decompress(data, PIECE)

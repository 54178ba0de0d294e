"""Small bodies that are large once they are unpacked, each made by the first test of a process that sends it."""

from __future__ import annotations

import functools
import zlib

BITS = {"gzip": zlib.MAX_WBITS + 16, "zlib": zlib.MAX_WBITS, "raw deflate": -zlib.MAX_WBITS}


@functools.cache
def bomb(form: str, size: int = 100 << 20) -> bytes:
    """Return so many blanks, compressed.

    Args:
        form: "gzip", "zlib" or "raw deflate".
        size: Bytes of the unpacked body, a multiple of 1 MiB.
    """
    packer = zlib.compressobj(wbits=BITS[form])
    return b"".join(packer.compress(b" " * (1 << 20)) for _ in range(size >> 20)) + packer.flush()

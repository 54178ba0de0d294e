"""Bodies are decoded piece by piece: much from little comes in small parts, and nothing but what was asked for."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmem._protocol.http_content import PIECE, BodyDecoder, EncodingError


def raw_deflate(data: bytes) -> bytes:
    encoder = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return encoder.compress(data) + encoder.flush()


WAYS: dict[str, Callable[[bytes], bytes]] = {
    "identity": lambda data: data,
    "": lambda data: data,
    "gzip": gzip.compress,
    " GZip ": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
}


@pytest.mark.parametrize("way", WAYS)
@given(data=st.binary(max_size=2_000), cut=st.integers(1, 40))
def test_body_comes_back_whatever_its_parts_are(way: str, data: bytes, cut: int) -> None:
    encoded, decoder = WAYS[way](data), BodyDecoder([way])
    parts = [encoded[at : at + cut] for at in range(0, len(encoded), cut)]
    assert b"".join(piece for part in parts for piece in decoder.feed(part)) == data
    decoder.finish()


def test_deflate_without_its_frame_is_understood() -> None:
    decoder = BodyDecoder(["deflate"])
    assert b"".join(decoder.feed(raw_deflate(b"likes tea" * 50))) == b"likes tea" * 50
    decoder.finish()


@pytest.mark.parametrize("compress", [gzip.compress, zlib.compress, raw_deflate])
def test_little_that_stands_for_much_is_given_out_in_small_pieces(compress: Callable[[bytes], bytes]) -> None:
    decoder = BodyDecoder(["gzip" if compress is gzip.compress else "deflate"])
    pieces = [len(piece) for piece in decoder.feed(compress(b" " * 10_000_000))]
    assert sum(pieces) == 10_000_000
    assert max(pieces) <= PIECE


@pytest.mark.parametrize("encodings", [["gzip", "gzip"], ["gzip", "deflate"], ["deflate", "identity", "gzip"]])
def test_body_that_is_encoded_more_than_once_is_refused(encodings: list[str]) -> None:
    with pytest.raises(EncodingError, match=r"^a body that is encoded more than once$"):
        BodyDecoder(encodings)


@pytest.mark.parametrize("encodings", [["br"], ["zstd"], ["chunked"]])
def test_encoding_that_was_not_asked_for_is_refused(encodings: list[str]) -> None:
    with pytest.raises(EncodingError, match=r"^a body in an encoding that was not asked for$"):
        BodyDecoder(encodings)


@pytest.mark.parametrize("way", ["gzip", "deflate"])
def test_body_that_is_not_what_its_encoding_says_is_refused(way: str) -> None:
    with pytest.raises(EncodingError, match=r"^a body that cannot be decoded$"):
        list(BodyDecoder([way]).feed(b"likes tea"))
    decoder, encoded = BodyDecoder([way]), WAYS[way](b"likes tea" * 50)
    with pytest.raises(EncodingError, match=r"^a body that cannot be decoded$"):
        list(decoder.feed(encoded[:-4] + b"\xff" * 4))


def test_body_that_breaks_off_is_noticed_and_an_empty_one_is_none() -> None:
    decoder = BodyDecoder(["gzip"])
    list(decoder.feed(gzip.compress(b"likes tea")[:-4]))
    with pytest.raises(EncodingError, match=r"^a body that breaks off$"):
        decoder.finish()
    BodyDecoder(["gzip"]).finish()


def test_text_behind_the_end_is_left_alone() -> None:
    decoder = BodyDecoder(["gzip"])
    assert b"".join(decoder.feed(gzip.compress(b"tea") + b"junk")) == b"tea"
    assert b"".join(decoder.feed(b"more junk")) == b""
    decoder.finish()

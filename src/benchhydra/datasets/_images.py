"""Made images: PNG files of exact sizes, each different, that compress well enough to be held by the thousand."""

from __future__ import annotations

import struct
import zlib

import numpy as np

#: An image is made of squares of one colour; the last ones are cut.
SQUARE_PIXELS = 16
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_8_BIT = (8, 2, 0, 0, 0)  # bits of a channel, RGB, and PNG's only compression, filter and interlacing


def made_png(width: int, height: int, rng: np.random.Generator) -> bytes:
    """Return a PNG of random squares. https://www.w3.org/TR/png-3/"""
    rows, columns = -(-height // SQUARE_PIXELS), -(-width // SQUARE_PIXELS)
    squares = rng.integers(0, 256, (rows, columns, 3), dtype=np.uint8)
    pixels = squares.repeat(SQUARE_PIXELS, axis=0).repeat(SQUARE_PIXELS, axis=1)[:height, :width]
    lines = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, 3 * width)], axis=1)  # no filter
    header = struct.pack(">IIBBBBB", width, height, *_COLOUR_8_BIT)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes(), 1)), (b"IEND", b""))
    return _SIGNATURE + b"".join(_chunk(name, data) for name, data in chunks)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

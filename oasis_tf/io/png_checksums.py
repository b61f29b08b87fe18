"""Checks a PNG file by its own checksums, most of which decoders pass over."""

import struct
import zlib

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEAD = SIGNATURE + b"\0\0\0\x0dIHDR"
_AT_ONCE = 2**20  # bytes that are unpacked at a time
_MOST_PIXEL_BYTES = 8  # four channels of 16 bits


def check(contents):
    """Checks the CRC-32 of every chunk up to the last one, and the Adler-32 of the pixels.

    Args:
        contents: bytes of the file. What follows its last chunk is ignored.

    Raises:
        ValueError: not a whole PNG file with right checksums. The error gives the reason alone.
    """
    pixels, place, kind = [], len(SIGNATURE), b""
    if not contents.startswith(_HEAD):
        raise ValueError("it does not begin as a PNG file")
    while kind != b"IEND":
        head = contents[place : place + 8]
        if len(head) < 8:
            raise ValueError("it ends before its last chunk")
        length, kind = struct.unpack(">I4s", head)
        end = place + 8 + length
        if zlib.crc32(contents[place + 4 : end]).to_bytes(4, "big") != contents[end : end + 4]:
            raise ValueError(f"the checksum of its chunk at byte {place} is wrong")
        if kind == b"IDAT":
            pixels.append(contents[place + 8 : end])
        place = end + 4
    _check_pixels(pixels, *struct.unpack(">II", contents[16:24]))


def check_named(contents, name):
    """As `check`; the error names the file."""
    try:
        check(contents)
    except ValueError as error:
        raise ValueError(f"{name} is damaged: {error}.") from error


def _check_pixels(parts, width, height):
    """Unpacks the pixels, since their checksum is that of the unpacked bytes. Keeps nothing."""
    unpacker = zlib.decompressobj()
    # With the filter bytes of all passes. What claims to be longer is not followed to its end.
    most = (_MOST_PIXEL_BYTES * width + 8) * (height + 8) + _AT_ONCE
    try:
        for part in [*parts, b""]:
            unpacked = True
            while part or unpacked:
                unpacked = unpacker.decompress(part, _AT_ONCE)
                part, most = unpacker.unconsumed_tail, most - len(unpacked)
                if most < 0:
                    raise ValueError("its pixels are longer than its size says")
    except zlib.error as error:
        raise ValueError(f"its pixels cannot be unpacked ({error})") from error
    if not unpacker.eof:
        raise ValueError("its pixels are incomplete")

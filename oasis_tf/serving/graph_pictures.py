"""Picture files, as bytes, inside a graph: decoded within limits, or refused with a reason.

The head of a file is checked before anything is decoded: kind, size, bits. The rules are those of
the demo's server (`oasis_tf.web.pictures`), except that WebP is not read.
"""

import tensorflow as tf

from oasis_tf.serving.graph_checks import checked, few_pixels, require

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_PNG_HEAD = 33  # bytes: magic, then the chunk IHDR with its length and checksum

_FILE = tf.TensorSpec([], tf.string)


def decode_ids(contents, name, max_pixels):
    """Integers of grey PNGs of 8 or 16 bits.

    Args:
        contents: string [B], files of one size; B > 0.
        name: str, what the files are, for errors.
        max_pixels: int, most pixels of a file that are decoded.

    Returns:
        int32 [B, H, W].
    """
    contents = checked(_checks_of_ids(contents, name), contents)
    heads = tf.map_fn(_png_head, contents, fn_output_signature=tf.int32)
    height, width, depth, colour = (heads[:, k] for k in range(4))
    checks = [
        *_checks_of_sizes(name, height, width, max_pixels),
        require(
            tf.reduce_all(colour != 3),
            f"`{name}` must be grey PNGs that hold integers. Received: a PNG with a palette. Save "
            "the indices of its pixels as a grey PNG.",
        ),
        require(
            tf.reduce_all((colour == 0) & ((depth == 8) | (depth == 16))),
            f"`{name}` must be grey PNGs of 8 or 16 bits that hold integers. Received: PNG colour "
            "types {} of {} bits.",
            *(colour, depth),
        ),
    ]

    def decode(row):
        one, bits = row
        values = tf.cond(
            tf.equal(bits, 16),
            lambda: tf.cast(tf.io.decode_png(one, channels=1, dtype=tf.uint16), tf.int32),
            lambda: tf.cast(tf.io.decode_png(one, channels=1, dtype=tf.uint8), tf.int32),
        )
        return values[..., 0]

    spec = tf.TensorSpec([None, None], tf.int32)
    return tf.map_fn(decode, checked(checks, contents, depth), fn_output_signature=spec)


def decode_photographs(contents, name, max_pixels):
    """Colours of PNG and JPEG files as they are, uint8 [B, H, W, 3]; arguments as `decode_ids`.

    Of 16 bits the upper 8 are taken; transparency is dropped.
    """
    png = _is_png(contents)
    checks = [
        _not_empty(contents, name),
        require(
            tf.reduce_all(png | _starts(contents, _JPEG)),
            f"`{name}` must be PNG or JPEG files. Received: files that are damaged or of another "
            "kind.",
        ),
    ]
    contents, png = checked(checks, contents, png)

    def size(row):
        one, is_png = row
        jpeg_size = lambda: tf.image.extract_jpeg_shape(one)[:2]  # noqa: E731
        return tf.cond(is_png, lambda: _png_head(one)[:2], jpeg_size)

    sizes = tf.map_fn(size, (contents, png), fn_output_signature=tf.int32)
    checks = _checks_of_sizes(name, sizes[:, 0], sizes[:, 1], max_pixels)

    def decode(row):
        one, is_png = row
        return tf.cond(
            is_png,
            lambda: tf.io.decode_png(one, channels=3),
            # As Pillow decodes; the default is faster and less exact.
            lambda: tf.io.decode_jpeg(one, channels=3, dct_method="INTEGER_ACCURATE"),
        )

    spec = tf.TensorSpec([None, None, 3], tf.uint8)
    return tf.map_fn(decode, checked(checks, contents, png), fn_output_signature=spec)


def encode_images(images):
    """PNG files, string [B], of float [B, H, W, 3] in [-1, 1], rounded to the nearest."""
    values = tf.clip_by_value(tf.round((images + 1.0) * 127.5), 0, 255)
    return tf.map_fn(
        tf.io.encode_png,
        tf.cast(values, tf.uint8),
        fn_output_signature=tf.TensorSpec([], tf.string),
    )


def encode_ids(maps):
    """Grey PNG files, string [B], of int32 [B, H, W]; 16 bits if a value needs them, else 8."""

    def encode(one):
        pixels = one[..., None]
        return tf.cond(
            tf.reduce_max(one) < 256,
            lambda: tf.io.encode_png(tf.cast(pixels, tf.uint8)),
            lambda: tf.io.encode_png(tf.cast(pixels, tf.uint16)),
        )

    return tf.map_fn(encode, maps, fn_output_signature=_FILE)


# === Heads of files ===


def _starts(contents, magic):
    return tf.equal(tf.strings.substr(contents, 0, len(magic)), magic)


def _is_png(contents):
    """Whether files [B] have a whole head."""
    # A position after the end of a string is an error, so short files are padded with zeros.
    heads = tf.strings.join([tf.strings.substr(contents, 0, _PNG_HEAD), b"\0" * _PNG_HEAD])
    chunk = tf.equal(tf.strings.substr(heads, len(_PNG), 8), b"\0\0\0\x0dIHDR")
    return _starts(heads, _PNG) & chunk & (tf.strings.length(contents) >= _PNG_HEAD)


def _png_head(contents):
    """int32 [4] of one file with a head: height, width, bits of a channel, colour type."""
    sides = tf.io.decode_raw(tf.strings.substr(contents, 16, 8), tf.int32, little_endian=False)
    kinds = tf.cast(tf.io.decode_raw(tf.strings.substr(contents, 24, 2), tf.uint8), tf.int32)
    return tf.ensure_shape(tf.concat([sides[::-1], kinds], 0), [4])


def _checks_of_ids(contents, name):
    yield _not_empty(contents, name)
    yield require(
        tf.reduce_all(_is_png(contents)),
        f"`{name}` must be PNG files. Received: files that are damaged or of another kind.",
    )


def _not_empty(contents, name):
    return require(tf.size(contents) > 0, f"`{name}` must hold at least one file. Received: none.")


def _checks_of_sizes(name, height, width, max_pixels):
    """Checks sizes [B] in the heads of files. They are signed 32 bits: huge ones are negative."""
    yield require(
        tf.reduce_all(
            (height > 0) & (width > 0) & few_pixels(height, width, max_pixels),
        ),
        f"`{name}` may have {max_pixels} pixels at most, and one at least. "
        "Received: heights {}, widths {}.",
        *(height, width),
    )
    yield require(
        tf.reduce_all((height == height[0]) & (width == width[0])),
        f"All files of `{name}` in one request must have one size. "
        "Received: heights {}, widths {}.",
        *(height, width),
    )

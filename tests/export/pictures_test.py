"""Pictures as bytes: the signatures of the demo, pixel for pixel, and refusals in the graph."""

import io
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from oasis_tf.io.images import to_uint8
from oasis_tf.systems.oasis.demo.signatures import Signatures
from oasis_tf.web.pictures import decode_image

SEED, OTHER = 7, 2**53 - 1
SIZE = (32, 64)


@pytest.fixture(scope="module")
def demo(shallow_model):
    return Signatures(shallow_model)


def file_of(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png(values, dtype=np.uint8):
    return file_of(Image.fromarray(np.asarray(values).astype(dtype)))


def forged(width, height, depth=8, colour=0, body=b""):
    """A PNG of a head that claims something and a body that need not agree."""

    def chunk(kind, contents):
        checksum = struct.pack(">I", zlib.crc32(kind + contents))
        return struct.pack(">I", len(contents)) + kind + contents + checksum

    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = (b"IHDR", head), (b"IDAT", zlib.compress(body)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def pixels(contents):
    return np.asarray(Image.open(io.BytesIO(contents)))


def random_maps(limit, batch=3):
    rng = np.random.default_rng(limit)
    return rng.integers(0, limit, (batch, SIZE[0] // 4, SIZE[1] // 4)).repeat(4, 1).repeat(4, 2)


LABEL_MAPS, INDICES = random_maps(5), random_maps(3)
MAPS = [png(part) for part in LABEL_MAPS]
NOISE = np.random.default_rng(0).integers(0, 256, (3, *SIZE, 3), np.uint8)
PHOTOS = [file_of(Image.fromarray(part)) for part in NOISE]


def one(values):
    """Inputs for one picture as a batch."""
    return {
        key: [value] if isinstance(value, bytes) else np.array([value], dtype_of(key))
        for key, value in values.items()
    }


def dtype_of(key):
    return np.float64 if key == "share" else np.int64


# === As the demo ===


def test_png_is_the_rounded_image(session):
    seeds = np.array([SEED, OTHER, 0])
    label_map = LABEL_MAPS.astype(np.int32)
    image = session.run("serving_default", {"label_map": label_map, "seed": seeds})["image"]
    for dtype in (np.uint8, np.uint16):
        files = [png(part, dtype) for part in LABEL_MAPS]
        found = session.run("png", {"label_map_bytes": files, "seed": seeds})["image_bytes"]
        np.testing.assert_array_equal([pixels(file) for file in found], to_uint8(image))


EDIT = {
    "label_map_bytes": MAPS[0],
    "noise_index_bytes": png(INDICES[0]),
    "seed": [SEED, 1, 2],
    "other_seed": [OTHER, 1, 7],
}
DEMO_CASES = [
    ("png", {"label_map_bytes": MAPS[0], "seed": SEED}),
    ("png_edit", EDIT | {"share": 0.0}),
    ("png_edit", EDIT | {"share": 0.3}),
    ("png_edit", EDIT | {"share": 1.0}),
    # Vectors that are alike, and one that no pixel has.
    ("png_edit", EDIT | {"seed": [9, 9, 4, 5], "other_seed": [9, 9, 9, 5], "share": 1.0}),
    ("png_edit", EDIT | {"noise_index_bytes": png(INDICES[0], np.uint16), "share": 0.9}),
    *(
        (
            "png_resample",
            {
                "label_map_bytes": MAPS[1],
                "seed": SEED,
                "region_bytes": png(region),
                "region_seed": OTHER,
            },
        )
        for region in (INDICES[1] * 100, INDICES[1] * 0, INDICES[1] * 0 + 255)
    ),
    ("png_segment", {"image_bytes": PHOTOS[0]}),
    ("png_recreate", {"image_bytes": PHOTOS[1], "seed": SEED}),
]


@pytest.mark.parametrize(("name", "inputs"), DEMO_CASES, ids=[case[0] for case in DEMO_CASES])
def test_signatures_of_the_demo(session, demo, name, inputs):
    assert set(demo.kinds[name]) == set(session.signatures[name].inputs)
    want = demo(name, inputs)
    found = session.run(name, one(inputs))
    assert set(found) == set(want)
    for key, value in want.items():
        (contents,) = found[key]
        np.testing.assert_array_equal(pixels(contents), pixels(value))
        assert contents[24] == value[24]  # bits of a channel


def test_the_demo_has_no_signature_that_is_missing_here(session, demo):
    assert set(demo.kinds) == {name for name in session.signatures if name.startswith("png")}


@pytest.mark.parametrize("name", ["png_edit", "png_recreate"])
def test_a_batch_is_its_pictures(session, name):
    inputs = {
        "png_edit": {
            "label_map_bytes": MAPS,
            "noise_index_bytes": [png(part) for part in INDICES],
            "seed": np.arange(9).reshape(3, 3),
            "other_seed": np.arange(9, 18).reshape(3, 3),
            "share": np.array([0, 0.5, 1]),
        },
        "png_recreate": {"image_bytes": PHOTOS, "seed": np.arange(3)},
    }[name]
    batch = session.run(name, inputs)
    for k in range(3):
        alone = session.run(name, {key: value[k : k + 1] for key, value in inputs.items()})
        for key, value in alone.items():
            assert value[0] == batch[key][k]


GREY = NOISE[0, ..., 0]
ALPHA = np.dstack([NOISE[0], GREY])
PHOTO_FILES = {
    "rgb": PHOTOS[0],
    "grey": png(GREY),
    "alpha": file_of(Image.fromarray(ALPHA)),
    "grey_alpha": file_of(Image.fromarray(ALPHA[..., 2:])),
    "grey_16": png(GREY.astype(int) * 256 + 77, np.uint16),
    "rgb_16": forged(
        SIZE[1], SIZE[0], 16, 2, b"".join(b"\0" + row.tobytes() for row in NOISE[0].repeat(2, -1))
    ),
    "palette": file_of(Image.fromarray(NOISE[0]).quantize(16)),
    "bits": file_of(Image.fromarray(GREY > 100)),
    "jpeg": file_of(Image.fromarray(NOISE[0]), "JPEG", quality=95),
    "jpeg_halved_colour": file_of(Image.fromarray(NOISE[0]), "JPEG", subsampling=2),
    "jpeg_grey": file_of(Image.fromarray(GREY), "JPEG"),
    "jpeg_progressive": file_of(Image.fromarray(NOISE[0]), "JPEG", progressive=True),
}


def test_photographs_are_read_as_the_demo_reads_them():
    import tensorflow as tf

    from oasis_tf.serving.graph_pictures import decode_photographs

    for name, contents in PHOTO_FILES.items():
        (found,) = decode_photographs(tf.constant([contents]), "image_bytes", 10**6).numpy()
        want = decode_image(contents, "image_bytes", 10**6).astype(int)
        # Two builds of one JPEG library may round differently.
        tolerance = 1 if name.startswith("jpeg") else 0
        assert np.abs(found - want).max() <= tolerance, name


def test_maps_keep_their_numbers():
    import tensorflow as tf

    from oasis_tf.serving.graph_pictures import decode_ids, encode_ids

    maps = np.stack([random_maps(256, 1)[0], random_maps(65536, 1)[0]])
    files = [png(maps[0]), png(maps[1], np.uint16)]
    np.testing.assert_array_equal(decode_ids(tf.constant(files), "map", 10**6), maps)
    written = encode_ids(tf.constant(maps, tf.int32)).numpy()
    np.testing.assert_array_equal([pixels(file) for file in written], maps)
    assert [file[24] for file in written] == [8, 16]


# === Refusals ===

KIND = "damaged or of another kind"
BAD_MAPS = {
    "garbage": (b"garbage", KIND),
    "empty": (b"", KIND),
    "only magic": (MAPS[0][:8], KIND),
    "head cut": (MAPS[0][:32], KIND),
    "body cut": (MAPS[0][:-30], "Invalid PNG"),
    "no body": (MAPS[0][:33], "Invalid PNG"),
    "wrong checksum": (MAPS[0][:50] + bytes([MAPS[0][50] ^ 1]) + MAPS[0][51:], "Invalid PNG"),
    "body too short": (forged(64, 32), "Invalid PNG"),
    "bomb": (forged(60000, 60000), r"6144 pixels at most.*heights \[60000\], widths \[60000\]"),
    "largest": (forged(2**32 - 1, 2**32 - 1), "6144 pixels at most"),
    "zero": (forged(0, 32), r"one at least. Received: heights \[32\], widths \[0\]"),
    "jpeg": (PHOTO_FILES["jpeg"], KIND),
    "gif": (file_of(Image.fromarray(GREY), "GIF"), KIND),
    "palette": (PHOTO_FILES["palette"], "a PNG with a palette. Save the indices"),
    "colours": (PHOTOS[0], r"of 8 or 16 bits.*colour types \[2\] of \[8\] bits"),
    "alpha": (PHOTO_FILES["grey_alpha"], r"colour types \[4\] of \[8\] bits"),
    "4 bits": (forged(64, 32, 4), r"colour types \[0\] of \[4\] bits"),
    "ids": (png(LABEL_MAPS[0] + 1), r"`label_map_bytes` must hold model ids 0\.\.4.*1 to 5"),
    "16 bits": (png(LABEL_MAPS[0] * 256, np.uint16), r"model ids 0\.\.4.*0 to 1024"),
    "sides": (png(LABEL_MAPS[0][:30]), r"`label_map_bytes` must be positive multiples of 4.*30"),
}
BAD_PHOTOS = {
    name: BAD_MAPS[name]
    for name in ("garbage", "empty", "only magic", "head cut", "body cut", "bomb", "zero", "gif")
} | {
    "webp": (file_of(Image.fromarray(GREY), "WEBP"), KIND),
    "jpeg cut": (PHOTO_FILES["jpeg"][:1000], "Invalid JPEG"),
    "jpeg head": (PHOTO_FILES["jpeg"][:10], "Invalid JPEG"),
    "jpeg bomb": (
        PHOTO_FILES["jpeg"].replace(struct.pack(">HH", *SIZE), struct.pack(">HH", 65000, 65000), 1),
        r"6144 pixels at most.*heights \[65000\]",
    ),
    "sides": (png(NOISE[0, :20]), r"`image_bytes` must be positive multiples of 8.*height 20"),
}


def assert_refused(session, name, inputs, message):
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        session.run(name, inputs)


@pytest.mark.parametrize("kind", BAD_MAPS)
def test_bad_maps_get_a_readable_answer(session, kind):
    contents, message = BAD_MAPS[kind]
    assert_refused(session, "png", one({"label_map_bytes": contents, "seed": SEED}), message)


@pytest.mark.parametrize("kind", BAD_PHOTOS)
def test_bad_photographs_get_a_readable_answer(session, kind):
    contents, message = BAD_PHOTOS[kind]
    assert_refused(session, "png_segment", {"image_bytes": [contents]}, message)


SIZES_DIFFER = r"`noise_index_bytes` must have the batch and size of `label_map_bytes`"


@pytest.mark.parametrize(
    ("name", "inputs", "message"),
    [
        (
            "png",
            {"label_map_bytes": [MAPS[0], png(LABEL_MAPS[0][:16])], "seed": np.array([1, 2])},
            r"one size\. Received: heights \[32 16\], widths \[64 64\]",
        ),
        ("png", {"label_map_bytes": [], "seed": np.zeros(0, np.int64)}, "at least one file"),
        ("png", {"label_map_bytes": MAPS, "seed": np.array([1])}, "batch size. Received: 3 and 1"),
        (
            "png_edit",
            one(EDIT | {"share": 0, "seed": [1] * 1025, "other_seed": [1] * 1025}),
            r"`seed` may have 1024 entries a row at most. Received: 1025",
        ),
        ("png_edit", one(EDIT | {"share": 1.5}), r"`share` must be in \[0.0, 1.0\].*1.5"),
        ("png_edit", one(EDIT | {"share": np.nan}), "`share` must be in"),
        (
            "png_edit",
            one(EDIT | {"share": 0, "other_seed": [1]}),
            r"`other_seed` .*`seed`.*\[1 1\]",
        ),
        (
            "png_edit",
            one(EDIT | {"share": 0, "seed": [1, 2], "other_seed": [1, 2]}),
            r"`noise_index_bytes` must hold numbers of seeds 0\.\.1\. Received: values from 0 to 2",
        ),
        (
            "png_edit",
            one(EDIT | {"share": 0, "noise_index_bytes": png(INDICES[0][:16])}),
            SIZES_DIFFER,
        ),
        ("png_edit", one(EDIT | {"share": 0, "noise_index_bytes": b"?"}), "`noise_index_bytes`"),
        (
            "png_resample",
            one(DEMO_CASES[6][1] | {"region_seed": 1}) | {"region_seed": np.array([1, 2])},
            "`label_map_bytes` and `region_seed` must have the same batch size",
        ),
    ],
)
def test_what_does_not_go_together(session, name, inputs, message):
    assert_refused(session, name, inputs, message)


def test_it_answers_after_everything_that_it_refused(session):
    inputs = {"label_map_bytes": MAPS[:1], "seed": np.array([SEED])}
    before = session.run("png", inputs)["image_bytes"][0]
    for contents, _ in BAD_MAPS.values():
        with pytest.raises(tf.errors.InvalidArgumentError):
            session.run("png", inputs | {"label_map_bytes": [contents]})
    assert session.run("png", inputs)["image_bytes"][0] == before

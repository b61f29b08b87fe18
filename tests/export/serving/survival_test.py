"""A loaded export survives what strangers send: errors come one by one, others are unharmed."""

import collections
import concurrent.futures
import io
import itertools
import os
import struct
import threading
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from oasis_tf.web.pictures import decode_image, encode_png
from tests.export.serving.conftest import as_strings

IN_FLIGHT = 8
SIZE = (64, 64)
MAX_GROWTH = 64 * 2**20  # bytes: far less than one enormous picture decoded


def ids(number, size=SIZE):
    return np.random.default_rng(number).integers(0, 5, size, np.int32)


def png(mode, values):
    file = io.BytesIO()
    Image.fromarray(values).convert(mode).save(file, "PNG")
    return file.getvalue()


def palette_png(values):
    picture = Image.fromarray(values.astype(np.uint8)).convert("P")
    picture.putpalette(bytes(range(256)) * 3)
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def handmade_png(width, height, depth=8, colour=0, rows=b""):
    """A PNG file that says what it is told to, with valid check sums."""

    def chunk(kind, data):
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(rows, 9))
        + chunk(b"IEND", b"")
    )


SIXTEEN_BITS = handmade_png(64, 64, 16, 0, (b"\x00" + b"\x00\x03" * 64) * 64)
BAD_FILES = {
    "nothing": b"",
    "garbage": bytes(np.random.default_rng(0).integers(0, 256, 4096, np.uint8)),
    "signature alone": b"\x89PNG\r\n\x1a\n",
    "zero width": handmade_png(0, 64),
    "zero size": handmade_png(0, 0),
    "truncated": encode_png(ids(0))[:200],
    "enormous": handmade_png(20_000, 20_000, rows=(b"\x00" * 20_001) * 20_000),
    "enormous head": handmade_png(2**31 - 1, 2**31 - 1, rows=b"\x00"),
    "16 bits, ids beyond": handmade_png(64, 64, 16, 0, (b"\x00" + b"\xff\x03" * 64) * 64),
    "palette": palette_png(ids(0)),
    "colours": png("RGB", ids(0).astype(np.uint8)),
    "ids beyond": encode_png(ids(0) + 5),
    "odd size": encode_png(ids(0, (33, 64))),
    "JPEG": (lambda file: (Image.new("L", SIZE).save(file, "JPEG"), file.getvalue())[1])(
        io.BytesIO()
    ),
}
BAD_TENSORS = {
    "no batch": {"label_map": ids(0), "seed": np.array([1])},
    "empty": {"label_map": np.zeros((1, 0, 32), np.int32), "seed": np.array([1])},
    "empty batch and a seed": {"label_map": np.zeros((0, 32, 32), np.int32), "seed": np.array([1])},
    "negative": {"label_map": ids(0)[None] - 1, "seed": np.array([1])},
    "two seeds": {"label_map": ids(0)[None], "seed": np.array([1, 2])},
}


def requests(model):
    """Name to (signature, inputs, expected image or None for a refusal)."""
    expected = model.generate(np.stack([ids(k) for k in range(3)]), seed=np.arange(3))
    found = {}
    for k in range(3):
        label_map = np.array([k])
        found[f"png {k}"] = (
            "png",
            {"label_map_bytes": as_strings(encode_png(ids(k))), "seed": label_map},
            expected[k],
        )
        found[f"integers {k}"] = (
            "serving_default",
            {"label_map": ids(k)[None], "seed": label_map},
            expected[k],
        )
    sixteen = model.generate(np.full((1, *SIZE), 3), seed=[0])[0]
    found["16 bits"] = (
        "png",
        {"label_map_bytes": as_strings(SIXTEEN_BITS), "seed": np.array([0])},
        sixteen,
    )
    for name, contents in BAD_FILES.items():
        inputs = {"label_map_bytes": as_strings(contents), "seed": np.array([0])}
        found[f"file: {name}"] = ("png", inputs, None)
    for name, inputs in BAD_TENSORS.items():
        found[f"tensors: {name}"] = ("serving_default", inputs, None)
    return found


def resident():
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def check(loaded, name, request):
    """What is wrong with the answer to a request, or None."""
    signature, inputs, expected = request
    try:
        outputs = loaded.run(signature, inputs)
    except tf.errors.InvalidArgumentError as error:
        return None if expected is None and error.message else f"{name}: {error}"
    if expected is None:
        return f"{name}: answered"
    if signature == "png":
        image = decode_image(outputs["image_bytes"][0], "image_bytes", 2**20)
        same = (image == np.clip(np.round((expected + 1) * 127.5), 0, 255)).all()
    else:
        same = (outputs["image"][0] == expected).all()
    return None if same else f"{name}: another image"


@pytest.mark.parametrize("number", [160, pytest.param(1000, marks=pytest.mark.slow)])
@pytest.mark.exhaustive
def test_mixed_requests(model, loaded, number):
    mixed = requests(model)  # one of each before memory is measured
    assert [w for w in (check(loaded, *request) for request in mixed.items()) if w] == []
    before = resident()
    running, most, lock = collections.Counter(), 0, threading.Lock()

    def ask(name):
        nonlocal most
        with lock:
            running["now"] += 1
            most = max(most, running["now"])
        try:
            return check(loaded, name, mixed[name])
        finally:
            with lock:
                running["now"] -= 1

    order = np.random.default_rng(0).permutation(number)
    names = list(itertools.islice(itertools.cycle(mixed), number))
    with concurrent.futures.ThreadPoolExecutor(IN_FLIGHT) as pool:
        wrong = [w for w in pool.map(lambda k: ask(names[k]), order) if w]
    growth = resident() - before
    print(
        f"{number} requests of {len(mixed)} kinds, {most} in flight, "
        f"memory {growth / 2**20:+.1f} MiB"
    )
    assert wrong == []
    assert most == IN_FLIGHT
    assert growth < MAX_GROWTH

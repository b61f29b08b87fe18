"""Served models: one whose pictures are computed from their inputs at once, and a real export."""

import threading

import numpy as np
import pytest

from export import savedmodel
from oasis_tf.data.datasets import folder_label_space
from oasis_tf.web.pictures import decode_ids, decode_image, encode_png
from tests.export.loading import Info, LoadedModel, Signature
from tests.export.serving.peers import Refused, RestServer, grpc_server

BYTES, INT64 = np.dtype(object), np.dtype(np.int64)


def signature(inputs, outputs):
    def described(dtypes):
        return {name: Info(dtype, (-1,)) for name, dtype in dtypes.items()}

    return Signature(described(inputs), described(outputs))


def picture_of(label_map, seed):
    """What the stand-in answers: uint8 [H, W, 3]."""
    return np.stack([label_map * 40, np.full_like(label_map, seed), label_map], -1).astype(np.uint8)


class StandIn:
    """A model without a network, whose failures are planned.

    Attributes:
        failures: codes that the next runs fail with.
        gate: runs wait until it is set.
        most: most runs at a time so far; asked: all of them.
    """

    signatures = {
        "png": signature({"label_map_bytes": BYTES, "seed": INT64}, {"image_bytes": BYTES}),
        "png_segment": signature({"image_bytes": BYTES}, {"label_map_bytes": BYTES}),
        "png_recreate": signature(
            {"image_bytes": BYTES, "seed": INT64},
            {"image_bytes": BYTES, "label_map_bytes": BYTES},
        ),
    }

    def __init__(self):
        self.failures, self.gate = [], threading.Event()
        self.gate.set()
        self.most = self.asked = self._running = 0
        self._lock = threading.Lock()

    def run(self, name, inputs):
        with self._lock:
            self.asked += 1
            self._running += 1
            self.most = max(self.most, self._running)
            failure = self.failures.pop(0) if self.failures else None
        try:
            self.gate.wait(30)
            if failure:
                raise Refused(failure, "a planned failure")
            return getattr(self, f"_{name}")(**inputs)
        finally:
            with self._lock:
                self._running -= 1

    def _png(self, label_map_bytes, seed):
        label_map = decode_ids(label_map_bytes[0], "label_map_bytes", 2**20)
        if label_map.max() > 4:
            raise Refused("INVALID_ARGUMENT", "label_map must hold model ids in 0..4")
        return {"image_bytes": as_strings(encode_png(picture_of(label_map, seed[0])))}

    def _png_segment(self, image_bytes):
        image = decode_image(image_bytes[0], "image_bytes", 2**20)
        return {"label_map_bytes": as_strings(encode_png(image[..., 0] // 40))}

    def _png_recreate(self, image_bytes, seed):
        labels = self._png_segment(image_bytes)
        return labels | self._png(labels["label_map_bytes"], seed)


def as_strings(*texts):
    array = np.empty(len(texts), object)
    array[:] = texts
    return array


@pytest.fixture
def stand_in():
    return StandIn()


@pytest.fixture
def served_stand_in(stand_in):
    """A `RestServer` of the stand-in."""
    with RestServer(stand_in) as server:
        yield server


@pytest.fixture(scope="session")
def space():
    return folder_label_space(5, unknown_label=255)


@pytest.fixture(scope="session")
def exported(model, tmp_path_factory):
    """Folder of version 1 of the small model, as "oasis", with its warm-up records."""
    path = tmp_path_factory.mktemp("served") / "oasis" / "1"
    savedmodel.export(model, str(path), warm_up=True)
    return path


@pytest.fixture(scope="session")
def loaded(exported):
    """The export, loaded."""
    return LoadedModel(exported)


@pytest.fixture(scope="session")
def served(loaded):
    """(URL by REST, address by gRPC) of the export."""
    with RestServer(loaded) as rest, grpc_server(loaded) as address:
        yield rest.url, address

"""Predictions from TensorFlow Serving: equal to the model's own, and what happens if it fails."""

import base64
import io
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from oasis_tf.data.datasets import published_label_space
from oasis_tf.data.shapes import scene
from oasis_tf.systems.oasis.config import Config
from oasis_tf.systems.oasis.demo import contract
from oasis_tf.systems.oasis.demo.served import ServedSignatures
from oasis_tf.systems.oasis.demo.signatures import Signatures
from tests.web.asgi import Client
from tests.web.fake_serving import FakeServing

SPACE = published_label_space("shapes")


def png(values, dtype=np.uint8):
    file = io.BytesIO()
    Image.fromarray(np.asarray(values).astype(dtype)).save(file, "PNG")
    return file.getvalue()


def pixels(contents):
    return np.asarray(Image.open(io.BytesIO(contents)))


PHOTOGRAPH, LABELS = scene(6, 0, 64, 64)
INDEX = np.arange(64)[:, None] // 32 + np.zeros((64, 64), int)
REQUESTS = {
    "png": {"label_map_bytes": png(LABELS), "seed": 2**62 + 1},
    "png_edit": {
        "label_map_bytes": png(LABELS),
        "noise_index_bytes": png(INDEX),
        "seed": [1, -2],
        "other_seed": [3, 4],
        "share": 0.25,
    },
    "png_resample": {
        "label_map_bytes": png(LABELS),
        "seed": 1,
        "region_bytes": png(INDEX),
        "region_seed": 9,
    },
    "png_segment": {"image_bytes": png(PHOTOGRAPH)},
    "png_recreate": {"image_bytes": png(PHOTOGRAPH), "seed": 5},
}


@pytest.fixture(scope="module")
def signatures(model):
    return Signatures(model)


@pytest.fixture
def fake(signatures):
    with FakeServing(signatures) as server:
        yield server


@pytest.fixture
def config(model_dir):
    return Config.load(model_dir)


@pytest.fixture
def served(fake, config):
    return ServedSignatures(fake.url, config)


@pytest.mark.parametrize("name", REQUESTS)
def test_predictions_are_the_models_own(served, signatures, name):
    assert served(name, REQUESTS[name]) == signatures(name, REQUESTS[name])


def test_what_is_served(served):
    assert (served.version, served.origin) == (3, "TensorFlow Serving, version 3")
    assert (served.height, served.width, served.noise_channels) == (64, 64, 4)
    assert served.kinds == contract.PLAIN | contract.EDITS | contract.PHOTOGRAPHS


def test_every_signature_has_outputs(signatures):
    for name, inputs in REQUESTS.items():
        assert set(signatures(name, inputs)) == set(contract.OUTPUTS[name])


def test_features_that_are_not_served(fake, config, plain_model_dir):
    fake.served = ["png", "png_edit", "png_segment"]
    assert list(ServedSignatures(fake.url, config).kinds) == ["png", "png_segment", "png_edit"]
    plain = ServedSignatures(fake.url, Config.load(plain_model_dir))
    assert list(plain.kinds) == ["png", "png_segment"]
    other = fake.metadata()
    del other["metadata"]["signature_def"]["signature_def"]["png_edit"]["inputs"]["share"]
    fake.replies["/metadata"] = 200, json.dumps(other).encode()
    assert list(ServedSignatures(fake.url, config).kinds) == ["png", "png_segment"]


def test_a_model_without_pictures_as_bytes(fake, config):
    fake.served = ["png_segment"]
    with pytest.raises(ValueError, match=r"must have the signature png .*Received: png_segment"):
        ServedSignatures(fake.url, config)


def test_warm_up_sends_a_picture_of_the_models_size(fake, served):
    served.warm_up()
    method, verb, request = fake.asked[-1]
    assert (method, verb, request["signature_name"]) == ("POST", ":predict", "png")
    sent = base64.b64decode(request["instances"][0]["label_map_bytes"]["b64"])
    sent = np.asarray(Image.open(io.BytesIO(sent)))
    assert sent.shape == (64, 64) and set(np.unique(sent)) == set(range(12))


def test_warm_up_tells_another_model(fake, served):
    other = {"predictions": [{"b64": base64.b64encode(png(np.zeros((32, 64, 3)))).decode()}]}
    fake.replies[":predict"] = 200, json.dumps(other).encode()
    with pytest.raises(ValueError, match="64 x 64 pixels. Received: 32 x 64"):
        served.warm_up()
    fake.replies[":predict"] = 400, b'{"error": "ids in 0..4"}'
    with pytest.raises(ValueError, match="answers 400: ids in 0..4"):
        served.warm_up()


def test_refused_pictures_are_not_sent(fake, served):
    count = len(fake.asked)
    large = np.zeros((160, 128))
    with pytest.raises(ValueError, match="16,384 pixels at most"):
        served("png", REQUESTS["png"] | {"label_map_bytes": png(large)})
    with pytest.raises(ValueError, match="16,384 pixels at most"):
        served("png_segment", {"image_bytes": png(np.stack([large] * 3, -1))})
    with pytest.raises(ValueError, match="cannot be read as PNG"):
        served("png", REQUESTS["png"] | {"label_map_bytes": b"GIF89a"})
    assert len(fake.asked) == count


def test_what_the_model_refuses(served):
    with pytest.raises(ValueError, match="answers 400: .*model ids 0..11. Received: 12"):
        served("png", REQUESTS["png"] | {"label_map_bytes": png(np.full((64, 64), 12))})


def test_the_demo_in_front_of_it(fake, served, signatures):
    pytest.importorskip("starlette", reason="the demo's extra is not installed")
    from oasis_tf.systems.oasis.demo.application import Demo
    from oasis_tf.web import server

    client = Client(server.application(Demo(SPACE, served).routes()))
    assert client.get("/model.json").json()["origin"] == "TensorFlow Serving, version 3"
    (version,) = client.get("/v1/models/oasis").json()["model_version_status"]
    assert version["version"] == "3"
    row = {"label_map_bytes": {"b64": base64.b64encode(png(LABELS)).decode()}, "seed": 7}

    def ask(row):
        body = {"signature_name": "png", "instances": [row]}
        return client.post("/v1/models/oasis:predict", json=body)

    want = signatures("png", {"label_map_bytes": png(LABELS), "seed": 7})["image_bytes"]
    (got,) = ask(row).json()["predictions"]
    assert base64.b64decode(got["b64"]) == want
    assert ask(row | {"seed": "x"}).status_code == 400  # here, before anything is sent
    for reply, status in [((404, b"{}"), 502), ((503, b"{}"), 503), ((400, b"{}"), 400)]:
        fake.replies[":predict"] = reply
        answer = ask(row)
        assert answer.status_code == status
        assert set(answer.json()) == {"error"} and "Traceback" not in answer.text


def test_the_command_needs_neither_weights_nor_tensorflow(
    fake, model_dir, examples_dir, run_module, tmp_path
):
    shutil.copy(f"{model_dir}/config.json", tmp_path)
    (tmp_path / "tensorflow.py").write_text("raise SystemExit('TensorFlow was loaded')")
    flags = [f"--model_dir={tmp_path}", f"--examples={examples_dir}", f"--serving_url={fake.url}"]
    fake.replies[":predict"] = 500, b'{"error": "out of memory"}'
    done = run_module("oasis_tf.demo", *flags, "--port=0", cwd=tmp_path)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert "ERROR: The model at http://127.0.0.1:" in done.stderr
    assert "answers 500: out of memory" in done.stderr


@pytest.mark.slow
def test_an_exported_model_answers_as_the_demo(model, config, signatures, tmp_path):
    """A SavedModel in place of the imitation above."""
    from export import savedmodel
    from tests.export.loading import LoadedModel
    from tests.export.serving.peers import RestServer

    path = str(tmp_path / "oasis" / "1")
    savedmodel.export(model, path)
    with RestServer(LoadedModel(path)) as server:
        served = ServedSignatures(server.url, config)
        served.warm_up()
        assert (served.version, set(served.kinds)) == (1, set(REQUESTS))
        for name, inputs in REQUESTS.items():
            for key, contents in signatures(name, inputs).items():
                got = pixels(served(name, inputs)[key]).astype(int)
                difference = np.abs(got - pixels(contents))
                assert difference.max() <= ("image" in key), name
        with pytest.raises(ValueError, match="answers 400"):
            served("png", REQUESTS["png"] | {"label_map_bytes": png(np.full((64, 64), 12))})

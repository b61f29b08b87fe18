"""A model in TensorFlow Serving: predictions, what is served, and what happens if it fails."""

import io
import json
import socket

import numpy as np
import pytest
from PIL import Image

from oasis_tf.web import serving
from oasis_tf.web.serving import TensorFlowServing, Unavailable, check_url
from tests.web.fake_serving import FakeServing, slow
from tests.web.toy import Toy


def picture(*shape):
    file = io.BytesIO()
    Image.fromarray(np.zeros(shape, np.uint8)).save(file, "PNG")
    return file.getvalue()


PNG = {"image_bytes": picture(8, 8, 3), "seed": 2**62 + 1}
REQUESTS = {
    "png": PNG,
    "mix": {"map_bytes": picture(8, 8), "seed": [1, -2], "share": 0.25, "amounts": [0.5]},
    "both": {"image_bytes": picture(4, 2, 3)},
}


@pytest.fixture
def fake():
    with FakeServing(Toy()) as server:
        yield server


def client_of(url, known=Toy.kinds):
    return TensorFlowServing(url, known, Toy.outputs, max_pixels=64)


@pytest.fixture
def served(fake):
    return client_of(fake.url)


@pytest.mark.parametrize("name", REQUESTS)
def test_predictions_are_the_models_own(served, name):
    assert served(name, REQUESTS[name]) == Toy()(name, REQUESTS[name])


def test_what_is_served(served):
    assert (served.version, served.origin) == (3, "TensorFlow Serving, version 3")
    assert served.kinds == Toy.kinds


def test_signatures_that_are_not_served(fake):
    fake.served = ["png", "both"]
    assert list(client_of(fake.url).kinds) == ["png", "both"]
    other = fake.metadata()
    del other["metadata"]["signature_def"]["signature_def"]["both"]["inputs"]["image_bytes"]
    fake.replies["/metadata"] = 200, json.dumps(other).encode()
    assert list(client_of(fake.url).kinds) == ["png"]


def test_the_first_signature_is_needed(fake):
    fake.served = ["both"]
    with pytest.raises(
        ValueError, match=r"must have the signature png \(image_bytes, seed\).*both"
    ):
        client_of(fake.url)


def test_versions(fake):
    loading = {"model_version_status": [{"version": "7", "state": "LOADING"}]}
    fake.replies[""] = 200, json.dumps(loading).encode()
    with pytest.raises(Unavailable, match="no version that is AVAILABLE. Received: 7 LOADING"):
        client_of(fake.url)


def test_refused_pictures_are_not_sent(fake, served):
    count = len(fake.asked)
    with pytest.raises(ValueError, match="64 pixels at most"):
        served("png", PNG | {"image_bytes": picture(9, 8, 3)})
    with pytest.raises(ValueError, match="cannot be read as PNG, JPEG or WEBP"):
        served("png", PNG | {"image_bytes": b"GIF89a"})
    with pytest.raises(ValueError, match="cannot be read as PNG. "):
        served("mix", REQUESTS["mix"] | {"map_bytes": b"GIF89a"})
    assert len(fake.asked) == count


def test_what_the_model_refuses(served):
    with pytest.raises(ValueError, match="answers 400: `seed` must not be 13"):
        served("png", PNG | {"seed": 13})


@pytest.mark.parametrize(
    ("reply", "status", "words"),
    [
        ((503, b'{"error": "queue full"}'), 503, "answers 503: queue full"),
        ((429, b'{"error": "slowly"}'), 503, "answers 429: slowly"),
        ((404, b'{"error": "Servable not found"}'), 502, "answers 404: Servable not found"),
        ((500, b"{}"), 502, "answers 500"),
        ((500, b'{"error": "%s"}' % (b"x" * 10_000)), 502, "answers 500"),
        ((302, b"{}"), 502, "answers 302"),
        ((200, b"<html>"), 502, "no JSON object"),
        ((200, b"[" * 100_000), 502, "no JSON object"),
        ((200, b"[]"), 502, "no JSON object"),
        ((200, b"{}"), 502, "must have one prediction"),
        ((200, b'{"predictions": [{"b64": "#"}]}'), 502, "not base64"),
        ((200, b'{"predictions": [[0.5]]}'), 502, '{"b64": "…"}'),
        (lambda handler: handler.close_connection, 502, "does not answer"),
        (slow(0.5), 504, "took longer than 0.3 s"),
        (slow(0.1, drops=20), 504, "took longer than 0.3 s"),
    ],
)
def test_answers_that_cannot_be_used(fake, served, monkeypatch, reply, status, words):
    monkeypatch.setattr(serving, "PREDICTION_SECONDS", 0.3)
    fake.replies[":predict"] = reply
    with pytest.raises(Unavailable) as caught:
        served("png", PNG)
    assert caught.value.status == status
    assert words in str(caught.value) and fake.url in str(caught.value)
    assert len(str(caught.value)) < 700


def test_answers_that_are_too_large(fake, served, monkeypatch):
    monkeypatch.setattr(serving, "MAX_ANSWER", 1000)
    fake.replies[":predict"] = 200, b" " * 100_000
    with pytest.raises(Unavailable, match="more than 1000 bytes"):
        served("png", PNG)


def test_a_server_that_is_not_there():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(
        Unavailable, match=f"127.0.0.1:{port}/.* does not answer: Connection refused"
    ):
        client_of(f"http://127.0.0.1:{port}/v1/models/x")


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:8501/v1/models/oasis",
        "https://serving.example.org/v1/models/oasis/",
        "http://[::1]:8501/v1/models/a-b.c/versions/12",
        "http://10.0.0.1:8501/behind/a/proxy/v1/models/oasis/labels/stable",
    ],
)
def test_addresses(url):
    assert check_url(url) == url.rstrip("/")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:8501/v1/models/oasis",
        "ftp://localhost/v1/models/oasis",
        "http://localhost:8501",
        "http://localhost:8501/v1/models/",
        "http://localhost:8501/v1/models/oasis:predict",
        "http://localhost:8501/v1/models/oasis?x=1",
        "http://user:secret@localhost:8501/v1/models/oasis",
        "http://localhost:8501/v1/models/oasis/versions/x",
        "http://localhost:8501/v1/models/oasis\r\nHost: x",
        "http://localhost; script-src */v1/models/oasis",
    ],
)
def test_refused_addresses(url):
    with pytest.raises(ValueError, match="must be given as http://HOST:8501/v1/models/NAME"):
        check_url(url)

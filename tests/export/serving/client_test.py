"""The client against a server whose answers, delays and failures are known."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading

import numpy as np
import pytest
import urllib3
from absl import flags
from PIL import Image

from export.serving import client, connections, labels
from export.serving.connections import ServingError
from oasis_tf.io.label_files import read_label_file
from tests.export.serving.conftest import picture_of

SIZE = (32, 64)


@pytest.fixture
def folder(tmp_path, space):
    """Label PNGs of raw ids: four sound ones, and one that is no PNG file."""
    place = tmp_path / "labels"
    place.mkdir()
    rng = np.random.default_rng(0)
    for k in range(4):
        raw = np.array(space.raw_ids)[rng.integers(0, 5, SIZE)]
        Image.fromarray(raw.astype(np.uint8)).save(place / f"scene{k}.png")
    (place / "broken.png").write_bytes(b"no picture")
    contents = {"label_space": space.to_json(), "height": 32, "width": 64}
    (tmp_path / "labels.json").write_text(json.dumps(contents))
    return tmp_path


def connect(server, retries=3):
    return connections.RestConnection(server.url, 20, retries)


def run(monkeypatch, server, folder, *arguments, url=None):
    """Runs the command; its exit code's message, if it failed."""
    values = flags.FlagValues()
    client.define_flags(values)
    monkeypatch.setattr(flags, "FLAGS", values)
    values(
        [
            "client",
            f"--url={url or server.url}",
            f"--label_space={folder / 'labels.json'}",
            f"--output={folder / 'out'}",
            *arguments,
        ]
    )
    try:
        client.main(["client"])
    except ValueError as error:
        return str(error)
    return None


def test_a_folder_with_one_bad_file(monkeypatch, capsys, served_stand_in, folder, space):
    failed = run(
        monkeypatch, served_stand_in, folder, f"--labels={folder / 'labels'}",
        "--num_samples=2", "--seed=7",
    )  # fmt: skip
    assert failed == f"2 of 10 requests failed. Wrote 8 files to {folder / 'out'}"
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("FAILED")]
    assert len(errors) == 2
    assert f"{folder / 'labels' / 'broken.png'}, seed 7: Cannot be read as a PNG" in errors[0]
    names = sorted(os.listdir(folder / "out"))
    assert names == sorted(f"scene{k}_seed{s}.png" for k in range(4) for s in (7, 8))
    for k in range(4):  # raw ids became model ids on the way
        raw = read_label_file(folder / "labels" / f"scene{k}.png")
        for seed in (7, 8):
            picture = np.asarray(Image.open(folder / "out" / f"scene{k}_seed{seed}.png"))
            expected = picture_of(space.to_model_ids(raw, "").astype(np.int32), seed)
            np.testing.assert_array_equal(picture, expected)


def test_files_that_exist_are_refused_kept_or_replaced(
    monkeypatch, served_stand_in, stand_in, folder
):
    (folder / "labels" / "broken.png").unlink()
    (folder / "out").mkdir()
    mine = folder / "out" / "scene1_seed0.png"
    mine.write_bytes(b"mine")
    source = f"--labels={folder / 'labels'}"
    refused = run(monkeypatch, served_stand_in, folder, source)
    assert refused.startswith("1 of 4 output files exist")
    assert stand_in.asked == 0
    assert run(monkeypatch, served_stand_in, folder, source, "--skip_existing") is None
    assert stand_in.asked == 3
    assert mine.read_bytes() == b"mine"
    assert run(monkeypatch, served_stand_in, folder, source, "--overwrite") is None
    assert mine.read_bytes().startswith(b"\x89PNG")


def test_photographs(monkeypatch, served_stand_in, folder, space):
    model_ids = np.random.default_rng(1).integers(0, 5, SIZE, np.int32)
    (folder / "photos").mkdir()
    Image.fromarray(picture_of(model_ids, 0)).save(folder / "photos" / "beach.png")
    source = f"--images={folder / 'photos'}"
    assert run(monkeypatch, served_stand_in, folder, "--task=segment", source) is None
    raw = space.to_raw_ids(model_ids)
    np.testing.assert_array_equal(read_label_file(folder / "out" / "beach.png"), raw)
    more = ("--task=recreate", "--num_samples=2")
    assert run(monkeypatch, served_stand_in, folder, *more, source) is None
    np.testing.assert_array_equal(read_label_file(folder / "out" / "beach_labels.png"), raw)
    picture = np.asarray(Image.open(folder / "out" / "beach_seed1.png"))
    np.testing.assert_array_equal(picture, picture_of(model_ids, 1))
    wrong = run(monkeypatch, served_stand_in, folder, f"--labels={folder / 'photos'}", more[0])
    assert wrong == "--task=recreate takes --images, not --labels."


def test_sizes(monkeypatch, served_stand_in, folder):
    for k, (size, wanted) in enumerate(
        [("crop", (64, 32)), ("native", (64, 32)), ("96x160", (160, 96))]
    ):
        source = f"--labels={folder / 'labels' / 'scene0.png'}"
        arguments = (source, f"--size={size}", f"--seed={k}")
        assert run(monkeypatch, served_stand_in, folder, *arguments) is None
        assert Image.open(folder / "out" / f"scene0_seed{k}.png").size == wanted
    wrong = run(monkeypatch, served_stand_in, folder, source, "--size=0x32", "--seed=9")
    assert "crop, native or HEIGHTxWIDTH" in wrong


def test_bounded_concurrency(served_stand_in, stand_in, folder):
    served = labels.read(folder / "labels.json")
    connection = connect(served_stand_in)
    jobs = client.plan("synthesize", [folder / "labels" / "scene0.png"], folder / "o", range(12))
    stand_in.gate.clear()
    threading.Timer(0.5, stand_in.gate.set).start()
    with connection:
        sender = client.Sender(connection, "synthesize", served)
        assert client.run_jobs(sender, jobs, 3) == {}
    assert stand_in.most == 3
    assert stand_in.asked == len(os.listdir(folder / "o")) == 12


def test_a_busy_server_is_asked_again_and_refusals_are_final(
    served_stand_in, stand_in, monkeypatch
):
    pauses = []
    monkeypatch.setattr(urllib3.util.retry.time, "sleep", pauses.append)
    inputs = {"image_bytes": [_png(np.zeros((2, 2, 3)))]}
    with connect(served_stand_in) as connection:
        stand_in.failures = ["UNAVAILABLE", "DEADLINE_EXCEEDED", "UNAVAILABLE"]
        assert connection.predict("png_segment", inputs)["label_map_bytes"][0]
        assert stand_in.asked == 4
        assert 0.5 <= pauses[-2] <= 0.75 and 1 <= pauses[-1] <= 1.25
        for code in ("INVALID_ARGUMENT", "INTERNAL"):
            stand_in.failures, stand_in.asked = [code], 0
            with pytest.raises(ServingError, match="a planned failure") as refused:
                connection.predict("png_segment", inputs)
            assert (refused.value.code, stand_in.asked) == (code, 1)
        stand_in.failures, stand_in.asked = ["UNAVAILABLE"] * 9, 0
        with pytest.raises(ServingError, match="UNAVAILABLE: HTTP 503: a planned failure"):
            connection.predict("png_segment", inputs)
        assert stand_in.asked == 4


def test_time_outs(served_stand_in, stand_in):
    connection = connections.RestConnection(served_stand_in.url, 0.3, retries=0)
    with connection:
        known = connection.signatures
        stand_in.gate.clear()
        with pytest.raises(ServingError, match=r"No answer from .*timed out") as late:
            connection.predict("png_segment", {"image_bytes": [_png(np.zeros((2, 2, 3)))]})
        stand_in.gate.set()
    assert late.value.code == "DEADLINE_EXCEEDED"
    assert "png" in known


@pytest.mark.parametrize(
    ("answer", "code", "message"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "INTERNAL", "HTTP 200: hello"),
        (b"HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\n{}", "NOT_FOUND", "HTTP 404: {}"),
        (b"HTTP/1.1 302 F\r\nLocation: http://x\r\nContent-Length: 0\r\n\r\n", "UNKNOWN", "302"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "INTERNAL", "like TensorFlow Serving"),
        (b"", "UNAVAILABLE", "No answer from"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", "UNAVAILABLE", "No answer from"),
    ],
)
def test_answers_of_other_servers(answer, code, message):
    with (
        _RawServer(answer) as url,
        pytest.raises(ServingError, match=message) as refused,
    ):
        _ = connections.RestConnection(url, 5, retries=0).signatures
    assert refused.value.code == code


def test_nobody_there(monkeypatch, served_stand_in, folder):
    source = f"--labels={folder / 'labels'}"
    url = "http://127.0.0.1:9/v1/models/oasis"
    failed = run(monkeypatch, None, folder, source, "--retries=0", url=url)
    assert failed.startswith("The model cannot be asked: UNAVAILABLE: No answer from")
    url = served_stand_in.url.replace("oasis", "other")
    failed = run(monkeypatch, None, folder, source, url=url)
    assert "NOT_FOUND: HTTP 404: Servable not found for request: /v1/models/other" in failed
    assert not (folder / "out").exists()


def test_a_model_without_the_signature(monkeypatch, served_stand_in, stand_in, folder):
    stand_in.signatures = {"png": stand_in.signatures["png"]}
    (folder / "photos").mkdir()
    Image.new("RGB", SIZE).save(folder / "photos" / "a.png")
    failed = run(
        monkeypatch, served_stand_in, folder, "--task=segment", f"--images={folder / 'photos'}"
    )
    assert "no signature png_segment, which --task=segment needs. It has: png." in failed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "Received: neither"),
        ({"url": "http://x/v1/models/a", "address": "x:1"}, "Received: both"),
        ({"url": "localhost:8501"}, "has the form http://HOST:PORT/v1/models/NAME"),
    ],
)
def test_servers_are_named_by_one_address(arguments, message):
    with pytest.raises(ValueError, match=message):
        connections.connect(**arguments)


def test_rest_needs_no_tensorflow(served_stand_in, folder):
    code = (
        "import sys; from export.serving import client; from oasis_tf.cli import runner\n"
        "try:\n    runner.run(client.main, client.define_flags)\n"
        "finally:\n    assert not {'tensorflow', 'keras', 'grpc'} & set(sys.modules)\n"
    )
    result = subprocess.run(
        [
            *(sys.executable, "-c", code, f"--url={served_stand_in.url}"),
            *(f"--labels={folder / 'labels' / 'scene0.png'}", f"--output={folder / 'out'}"),
            f"--label_space={folder / 'labels.json'}",
        ],
        capture_output=True,
        text=True,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )
    assert (result.returncode, result.stdout) == (0, f"Wrote 1 files to {folder / 'out'}\n")


def _png(image):
    from oasis_tf.web.pictures import encode_png

    return encode_png(image.astype(np.uint8))


class _RawServer:
    """Answers every connection with the same bytes."""

    def __init__(self, answer):
        self._answer = answer
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self):
        self._thread.start()
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}/v1/models/oasis"

    def __exit__(self, *exception):
        self._socket.close()

    def _serve(self):
        with contextlib.suppress(OSError):  # the socket is closed
            while True:
                connection, _ = self._socket.accept()
                with connection, contextlib.suppress(OSError):
                    connection.recv(2**16)
                    connection.sendall(self._answer)

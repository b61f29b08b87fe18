"""The demo: answers against the library, uploads, the page, the command."""

import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image, ImageOps

from oasis_tf.data.datasets import published_label_space
from oasis_tf.data.shapes import scene
from oasis_tf.io.label_files import resize_label_map

pytest.importorskip("starlette", reason="the demo's extra is not installed")
pytest.importorskip("uvicorn", reason="the demo's extra is not installed")

from oasis_tf.io import images
from oasis_tf.systems.oasis import editing
from oasis_tf.systems.oasis.demo import contract, uploads
from oasis_tf.systems.oasis.demo.application import Demo
from oasis_tf.systems.oasis.demo.signatures import Signatures
from oasis_tf.web import pages, requests, rest, server
from oasis_tf.web.pictures import decode_photograph
from tests.web.asgi import Client

SPACE = published_label_space("shapes")
PREDICT = "/v1/models/oasis:predict"
SEED, OTHER = 7, 2**53 - 1


@pytest.fixture(scope="module")
def signatures(model):
    return Signatures(model)


def client_of(signatures, examples=()):
    return Client(server.application(Demo(SPACE, signatures, examples).routes()))


@pytest.fixture
def client(signatures):
    return client_of(signatures, [("scene", label_map())])


def dumps(value):
    return json.dumps(value).encode()


def ids(value):
    """Names of parametrized tests: the words looked for, never what is sent."""
    return value if isinstance(value, str) else "sent"


def label_map(k=0):
    return scene(2, k, 64, 64)[1].astype(np.int32)


def file_of(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png(values, dtype=np.uint8):
    return file_of(Image.fromarray(np.asarray(values).astype(dtype)))


def b64(contents):
    return {"b64": base64.b64encode(contents).decode()}


def pixels(contents):
    return np.asarray(Image.open(io.BytesIO(contents)))


def from_b64(value):
    assert set(value) == {"b64"}
    return pixels(base64.b64decode(value["b64"]))


def ask(client, signature, **inputs):
    inputs = {k: b64(v) if isinstance(v, bytes) else v for k, v in inputs.items()}
    body = {"signature_name": signature, "instances": [inputs]}
    return client.post(PREDICT, json=body)


def predict(client, signature, **inputs):
    response = ask(client, signature, **inputs)
    assert response.status_code == 200, response.text
    (prediction,) = response.json()["predictions"]
    return prediction


def assert_refused(response, status, *words):
    assert response.status_code == status, response.text
    assert set(response.json()) == {"error"}
    message = response.json()["error"]
    for word in words:
        assert word in message
    assert "Traceback" not in message and "/tmp" not in message
    assert len(message) < 1000


# === Answers ===


def test_model(client):
    facts = client.get("/model.json").json()
    assert [one["name"] for one in facts["classes"]] == list(SPACE.class_names)
    assert facts["classes"][3] == {"id": 3, "name": "water", "color": [30, 80, 190], "raw_id": 3}
    assert (facts["height"], facts["width"], facts["noise_channels"]) == (64, 64, 4)
    assert facts["origin"] == "step 2"
    assert facts["backend"] == {"kind": "rest", "url": "v1/models/oasis", "own": True}
    assert facts["examples"] == [{"name": "scene", "url": "api/examples/0"}]
    np.testing.assert_array_equal(pixels(client.get("/api/examples/0").content), label_map())
    assert_refused(client.get("/api/examples/1"), 404, "There are 1 examples")


def served(client):
    """Signatures that the metadata tell of, with their inputs."""
    metadata = client.get("/v1/models/oasis/metadata").json()["metadata"]
    return metadata["signature_def"]["signature_def"]


@pytest.mark.parametrize("seed", [SEED, 0, -1, 2**63 - 1])
def test_png_is_generate(client, model, seed):
    got = predict(client, "png", label_map_bytes=png(label_map()), seed=seed)
    want = images.to_uint8(model.generate(label_map(), seed=seed))
    np.testing.assert_array_equal(from_b64(got), want)


def test_sixteen_bits_and_other_sizes(client, model):
    large = resize_label_map(label_map(), 96, 128)
    got = predict(client, "png", label_map_bytes=png(large, np.uint16), seed=SEED)
    np.testing.assert_array_equal(from_b64(got), images.to_uint8(model.generate(large, seed=SEED)))


@pytest.mark.parametrize("share", [0, 0.25, 1])
def test_edit_is_interpolation_of_fields(client, model, share):
    classes = label_map()
    index = np.where(classes == 2, 1, 0)
    got = predict(
        client,
        "png_edit",
        label_map_bytes=png(classes),
        noise_index_bytes=png(index),
        seed=[SEED, 8],
        other_seed=[OTHER, 8],
        share=share,
    )

    def field(seed):
        base = editing.image_noise(64, 64, seed, 4)
        return editing.class_noise(classes, {2: 8}, 4, base)

    noise = editing.interpolate(field(SEED), field(OTHER), share)
    want = images.to_uint8(model.generate(classes, noise=noise))
    np.testing.assert_array_equal(from_b64(got), want)
    # The test means something: noise shows.
    plain = images.to_uint8(model.generate(classes, seed=SEED))
    assert (want != plain).mean() > 0.05


def test_resample_is_resample(client, model):
    region = np.zeros((64, 64), np.uint8)
    region[10:30, 20:50] = 255
    got = predict(
        client,
        "png_resample",
        label_map_bytes=png(label_map()),
        seed=SEED,
        region_bytes=png(region),
        region_seed=OTHER,
    )
    field = editing.resample(editing.image_noise(64, 64, SEED, 4), region > 0, OTHER)
    want = images.to_uint8(model.generate(label_map(), noise=field))
    np.testing.assert_array_equal(from_b64(got), want)


def test_segment_and_recreate(client, model):
    photograph = scene(3, 0, 64, 64)[0]
    want = model.segment(photograph)
    got = predict(client, "png_segment", image_bytes=png(photograph))
    np.testing.assert_array_equal(from_b64(got), want)
    both = predict(client, "png_recreate", image_bytes=png(photograph), seed=SEED)
    np.testing.assert_array_equal(from_b64(both["label_map_bytes"]), want)
    image = images.to_uint8(model.generate(want, seed=SEED))
    np.testing.assert_array_equal(from_b64(both["image_bytes"]), image)
    assert len(np.unique(want)) > 1


def test_rows_of_a_request_and_timing(client):
    rows = [{"label_map_bytes": b64(png(label_map())), "seed": seed} for seed in (1, 2, 1)]
    response = client.post(PREDICT, json={"signature_name": "png", "instances": rows})
    first, second, third = response.json()["predictions"]
    assert first == third != second
    assert re.fullmatch(r"model;dur=\d+\.\d", response.headers["server-timing"])


def test_status_and_metadata(client):
    (version,) = client.get("/v1/models/oasis").json()["model_version_status"]
    assert (version["version"], version["state"]) == ("2", "AVAILABLE")
    assert list(served(client)) == [*contract.PLAIN, *contract.EDITS, *contract.PHOTOGRAPHS]
    assert set(served(client)["png"]["inputs"]) == {"label_map_bytes", "seed"}
    assert_refused(client.get("/v1/models/other"), 404, "/v1/models/oasis")
    assert_refused(client.post("/v1/models/other:predict"), 404, "oasis:predict")
    assert_refused(client.post("/v1/models/oasis/../x:predict"), 404)


def test_a_model_without_noise_or_discriminator(plain_model_dir):
    from oasis_tf import OASIS

    model = OASIS.load(plain_model_dir)
    plain = Signatures(model)
    plain.warm_up()
    client = client_of(plain)
    assert list(served(client)) == ["png"]
    got = predict(client, "png", label_map_bytes=png(label_map()), seed=3)
    np.testing.assert_array_equal(from_b64(got), images.to_uint8(model.generate(label_map())))
    assert_refused(ask(client, "png_segment", image_bytes=b""), 400, "must be one of png")


# === Inputs that do not fit the model ===


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        (b"garbage", "cannot be read as PNG"),
        (b"", "cannot be read as PNG"),
        (png(np.zeros((64, 64)))[:60], "cannot be read as PNG"),
        (file_of(Image.new("L", (64, 64)), "JPEG"), "cannot be read as PNG"),
        (png(np.zeros((64, 64, 3))), "grey PNG of 8 or 16 bits"),
        (file_of(Image.new("P", (64, 64))), "grey PNG of 8 or 16 bits"),
        (file_of(Image.new("1", (64, 64))), "grey PNG of 8 or 16 bits"),
        (png(np.full((64, 64), 12)), "model ids 0..11. Received: 12"),
        (png(np.zeros((64, 62))), "multiple of 4"),
        (png(np.zeros((160, 128))), "16,384 pixels at most. Received: 128 x 160"),
        (png(np.zeros((9000, 9000))), "16,384 pixels at most"),
    ],
    ids=ids,
)
def test_refused_label_maps(client, contents, words):
    assert_refused(ask(client, "png", label_map_bytes=contents, seed=1), 400, words)


def test_refused_noise(client):
    inputs = {"label_map_bytes": png(np.zeros((64, 64))), "share": 0}
    one = {"seed": [1], "other_seed": [2]}
    small, high = png(np.zeros((32, 64))), png(np.ones((64, 64)))
    response = ask(client, "png_edit", **inputs, **one, noise_index_bytes=small)
    assert_refused(response, 400, "label map's size. Received: 64 x 32 and 64 x 64")
    response = ask(client, "png_edit", **inputs, **one, noise_index_bytes=high)
    assert_refused(response, 400, "must number the 1 vectors")
    two = {"seed": [1, 2], "other_seed": [2]}
    response = ask(client, "png_edit", **inputs, **two, noise_index_bytes=high)
    assert_refused(response, 400, "equally long")


# === Files that are handed in ===


def hand_in(client, path, contents):
    response = client.post(path, content=contents)
    assert response.status_code == 200, response.text
    return response.json()


def test_label_files(client):
    ids = scene(2, 1, 96, 48)[1]
    palette = Image.fromarray(ids)
    palette.putpalette([value for colour in SPACE.palette for value in colour])
    files = [png(ids), png(ids, np.uint16), file_of(palette), png(SPACE.colorize(ids))]
    files += [png(np.dstack([ids] * 3)), file_of(Image.fromarray(ids), "BMP")]
    for contents in files:
        answer = hand_in(client, "/api/labels", contents)
        want = resize_label_map(ids, 64, 64)
        np.testing.assert_array_equal(from_b64(answer["label_map_bytes"]), want)
        assert (answer["height"], answer["width"]) == (96, 48)


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        (b"GIF89a garbage", "Cannot be read as a PNG, BMP or TIFF file: The label map"),
        (png(np.zeros((64, 64)))[:60], "The label map"),
        (file_of(Image.new("RGB", (64, 64)), "JPEG"), "The label map is a JPEG file"),
        (png(np.zeros((64, 64)))[:-12], "The label map (it ends before its last chunk)"),
        (png(np.full((64, 64), 200)), "The label map: label values 200 are outside the classes"),
        (png(np.full((64, 64), 60000), np.uint16), "The label map: label values 60000"),
        (png(np.full((64, 64), 99)), "does not fit the model, which has the 12 classes of shapes"),
        (png(np.random.default_rng(0).integers(0, 256, (64, 64, 3))), "looks like a photograph"),
        (png(np.full((64, 64, 3), [1, 1, 2])), "#010102"),
        (png(np.zeros((5000, 5000))), "16,777,216 pixels at most"),
    ],
    ids=ids,
)
def test_refused_label_files(client, contents, words):
    assert_refused(client.post("/api/labels", content=contents), 400, words)


def test_photographs(client):
    image = np.zeros((100, 200, 3), np.uint8)
    image[:, 50:150] = 200, 100, 0  # the middle square is all that is kept
    image[:50, 50:150] = 0, 0, 250
    for kind in ("PNG", "WEBP", "JPEG"):
        options = {"lossless": True} if kind == "WEBP" else {}
        answer = hand_in(
            client, "/api/photograph", file_of(Image.fromarray(image), kind, **options)
        )
        got = from_b64(answer["image_bytes"]).astype(int)
        assert got.shape == (64, 64, 3)
        assert (answer["height"], answer["width"]) == (100, 200)
        assert np.abs(got[4:28, 8:56] - [0, 0, 250]).max() < 12
        assert np.abs(got[36:60, 8:56] - [200, 100, 0]).max() < 12


def test_photographs_are_turned_and_lose_depth(client):
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[:32] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its left side
    answer = hand_in(client, "/api/photograph", file_of(Image.fromarray(picture), exif=exif))
    got = from_b64(answer["image_bytes"])
    assert (got[:, 34:] == 255).all() and (got[:, :30] == 0).all()
    deep = np.full((64, 64), 0xABCD, np.uint16)
    answer = hand_in(client, "/api/photograph", png(deep, np.uint16))
    assert (from_b64(answer["image_bytes"]) == 0xAB).all()


def test_large_photographs_are_decoded_small():
    """Against resampling all of their pixels."""
    small = np.random.default_rng(0).integers(0, 256, (5, 8, 3), np.uint8)
    picture = Image.fromarray(small).resize((800, 500), Image.Resampling.BICUBIC)
    exif = Image.Exif()
    exif[0x0112] = 6
    contents = file_of(picture, "JPEG", exif=exif, quality=95)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(contents)))
    want = ImageOps.fit(upright, (32, 48), Image.Resampling.LANCZOS)
    got, size = decode_photograph(contents, "The photograph", 48, 32, 10**6)
    assert size == (800, 500)
    assert np.abs(got.astype(int) - np.asarray(want).astype(int)).mean() < 2


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        (b"\x00" * 1000, "The photograph cannot be read as PNG, JPEG or WEBP"),
        (file_of(Image.new("RGB", (64, 64)), "GIF"), "cannot be read"),
        (file_of(Image.new("RGB", (64, 64)), "JPEG")[:300], "cannot be read"),
        (file_of(Image.new("1", (8000, 8000))), "50,000,000 pixels at most"),
        (file_of(Image.new("RGBA", (64, 64), (9, 9, 9, 254))), "transparent in places"),
        (file_of(Image.new("1", (5000, 5000))), "16,777,216 pixels at most if it is no JPEG"),
    ],
    ids=ids,
)
def test_refused_photographs(client, contents, words):
    assert_refused(client.post("/api/photograph", content=contents), 400, words)


def test_size_of_uploads(client, monkeypatch):
    monkeypatch.setattr(requests, "MAX_UPLOAD", 2000)
    parts = (b"x" * 100 for _ in range(30))  # no length is announced
    assert_refused(client.post("/api/labels", content=parts), 413, "at most")
    assert_refused(client.post("/api/photograph", content=b"x" * 2001), 413, "at most")
    assert_refused(client.post("/api/labels", content=b"x" * 2000), 400)


def test_defects_stay_in_the_log(client, monkeypatch):
    def fail(*_, **__):
        raise KeyError("secret")

    monkeypatch.setattr(uploads, "label_map", fail)
    response = client.post("/api/labels", content=b"x")
    assert_refused(response, 500, "its log says why")
    assert "secret" not in response.text


# === The page ===


def page_files():
    files = pages.files("oasis_tf.systems.oasis.demo")
    return {file.name: file.read_text(encoding="utf-8") for file in files}


def test_page_is_whole_and_needs_no_other_host(client):
    files = page_files()
    for name, text in files.items():
        foreign = [url for url in re.findall(r"(?:https?:)?//[\w.-]+\.\w+", text)]
        assert set(foreign) <= {"http://www.w3.org"}, name  # the name of SVG, never fetched
        wanted = re.findall(r'(?:href|src)="([\w.]+)', text) + re.findall(r'from "\./(.+)"', text)
        assert set(wanted) <= set(files)
    ids = set(re.findall(r'id="([\w-]+)"', files["index.html"]))
    own = [text for name, text in files.items() if not name.startswith("generating.")]
    used = set(re.findall(r'\$\("([\w-]+)"\)', "".join(own)))
    assert used <= ids
    assert not re.search(r'\bstyle="|\son\w+="|<script>|<style', files["index.html"])
    for name in files:
        assert client.get(f"/{name}").text == files[name]
    assert client.get("/").text == files["index.html"]
    assert_refused(client.get("/missing.js"), 404)
    assert client.get("/../server.py").status_code == 404
    assert client.get("/page/../../server.py").status_code == 404


@pytest.mark.parametrize("path", ["/", "/main.js", "/model.json", "/missing", "/v1/models/oasis"])
def test_headers(client, path):
    headers = client.get(path).headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "unsafe" not in policy and "http" not in policy
    assert headers["x-content-type-options"] == "nosniff"


def test_every_shortcut_is_connected():
    files = page_files()
    told = re.findall(r'aria-keyshortcuts="(\w|[?/])"', files["index.html"])
    connected = re.findall(r'^  "?(\S)"?: "', files["keys.js"], re.M)
    tools = re.search(r"TOOLS = \{(.+?)\}", files["keys.js"]).group(1)
    focus = re.search(r"FOCUS = \{(.+?)\}", files["keys.js"]).group(1)
    connected += re.findall(r'"?([\w/])"?: "', tools + focus)
    assert set(told) <= set(connected)
    assert len(connected) == len(set(connected)), "two meanings of one key"


# === The command ===


def test_command_refuses_without_a_trace(run_module, model_dir, tmp_path):
    done = run_module("oasis_tf.demo", f"--model_dir={model_dir}", f"--examples={tmp_path}")
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert "The folder holds no .png, .bmp, .tif, .tiff files" in done.stderr


def test_kinds_of_all_signatures_can_be_read(signatures):
    kinds = {kind for inputs in signatures.kinds.values() for kind in inputs.values()}
    assert kinds <= set(rest._READERS)

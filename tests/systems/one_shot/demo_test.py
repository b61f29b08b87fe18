"""The demo: answers against the library, the page, and the page in a browser."""

import base64
import io
import re

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

pytest.importorskip("starlette", reason="the demo's extra is not installed")
pytest.importorskip("uvicorn", reason="the demo's extra is not installed")

import oasis_tf
from oasis_tf.io.images import to_uint8
from oasis_tf.latents import between
from oasis_tf.systems.one_shot import draws, palette
from oasis_tf.systems.one_shot.demo import application, contract
from oasis_tf.systems.one_shot.demo.signatures import Signatures
from oasis_tf.web import pages
from oasis_tf.web.pictures import encode_png
from tests.systems.one_shot.conftest import write_model
from tests.web import browsing
from tests.web.asgi import Client
from tests.web.browsing import browser, in_browser, start_demo  # noqa: F401 (fixtures)
from tests.web.fake_serving import FakeServing

OUTPUTS = contract.outputs(3)["png"]
PREDICT = "/v1/models/one_shot:predict"


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    """A model directory with masks of three classes, weights drawn at random."""
    return write_model(tmp_path_factory.mktemp("demo") / "model", num_classes=3)


@pytest.fixture(scope="module")
def model(model_dir):
    return oasis_tf.load(model_dir)


@pytest.fixture(scope="module")
def client(model_dir):
    return Client(application.application(model_dir))


def decoded(value):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(value["b64"]))))


def wanted(model, seed, other, share):
    """Image uint8 [H, W, 3] and mask [H, W]."""
    ends = np.split(draws.latents_of(np.array([seed, other]), 4).numpy(), 2)
    samples = model.sample_latents(between(*ends, share))
    return to_uint8(samples.image[0]), samples.mask[0]


@pytest.mark.parametrize("share", [0, 0.25, 1])
def test_answers(client, model, share):
    inputs = {"seed": 7, "other_seed": 2**52, "share": share}
    body = {"signature_name": "png", "instances": [inputs]}
    (found,) = client.post(PREDICT, json=body).json()["predictions"]
    image, mask = wanted(model, 7, 2**52, share)
    np.testing.assert_array_equal(decoded(found["image_bytes"]), image)
    np.testing.assert_array_equal(decoded(found["mask_bytes"]), mask)
    if share != 0.25:
        seed = 7 if share == 0 else 2**52
        np.testing.assert_array_equal(image, to_uint8(model.sample(seed).image[0]))


def test_what_the_page_knows(client):
    facts = client.get("/model.json").json()
    assert (facts["height"], facts["width"], facts["origin"]) == (48, 64, "step 0")
    assert facts["colours"] == [[0, 0, 0], [128, 0, 0], [0, 128, 0]]
    assert contract.outputs(0) == {"png": ("image_bytes",)}


def test_page_is_whole_and_needs_no_other_host(client):
    files = {f.name: f.read_text(encoding="utf-8") for f in pages.files(application.__package__)}
    for name in ("index.html", *(name for name in files if name.endswith((".js", ".css")))):
        text = files[name]
        assert not re.findall(r"(?:https?:)?//[\w.-]+\.\w+", text), name
        links = re.findall(r'(?:href|src)="([\w.]+)', text) + re.findall(r'from "\./(.+)"', text)
        assert set(links) <= set(files)
        assert client.get(f"/{name}").text == text
    scripts = "".join(files[name] for name in ("main.js", "messages.js", "generating.js"))
    used = set(re.findall(r'\$\("([\w-]+)"\)', scripts))
    assert used <= set(re.findall(r'id="([\w-]+)"', files["index.html"]))
    assert not re.search(r'\bstyle="|\son\w+="|<script>|<style', files["index.html"])
    assert "default-src 'none'" in client.get("/").headers["content-security-policy"]


def test_examples_are_refused(model_dir):
    with pytest.raises(ValueError, match="`examples` are for systems .* Leave --examples out"):
        application.application(model_dir, example_path="x.png")


class Served(Signatures):
    """A model that is served, but of another size than its config says."""

    def __call__(self, name, inputs):
        return {name: encode_png(np.zeros((32, 48, 3), np.uint8)) for name in OUTPUTS}


def test_a_served_model(model):
    inputs = {"seed": 7, "other_seed": 8, "share": 0.5}
    signatures = Signatures(model)
    with FakeServing(signatures) as server:
        served = application.served(server.url, model.config)
        served.warm_up()
        assert served("png", inputs) == signatures("png", inputs)
    with FakeServing(Served(model)) as server:
        served = application.served(server.url, model.config)
        with pytest.raises(ValueError, match="images of 48 x 64 pixels. Received: 32 x 48"):
            served.warm_up()


@pytest.mark.slow
def test_the_savedmodel_answers_alike(model, tmp_path):
    """Its signature `png`, and warm-up records of all signatures."""
    pytest.importorskip("tensorflow_serving", reason="the extra `serving` is not installed")
    from export import savedmodel
    from export.serving import warmup

    path = str(tmp_path / "1")
    names = savedmodel.export(model, path, warm_up=True)
    assert {name for name, _ in warmup.replay(path)} == set(names)
    png = warmup.load(path)["png"]
    ends = {"seed": tf.constant([7], tf.int64), "other_seed": tf.constant([8], tf.int64)}
    found = png(**ends, share=tf.constant([0.25]))
    image, mask = (Image.open(io.BytesIO(found[name].numpy()[0])) for name in OUTPUTS)
    for got, want in zip((image, mask), wanted(model, 7, 8, 0.25), strict=True):
        assert (np.asarray(got) == want).mean() > 0.99
    with pytest.raises(tf.errors.InvalidArgumentError, match="`share` must be in"):
        png(**ends, share=tf.constant([1.5]))


# === In a browser ===


@pytest.fixture(scope="module")
def url(start_demo, model_dir):  # noqa: F811
    with start_demo(f"--model_dir={model_dir}") as url:
        yield url


def images_of(page):
    browsing.settle(page)
    return [browsing.pixels(page, name) for name in ("#picture", "#mask")]


def state(page):
    return [page.locator(f"#{name}").input_value() for name in ("seed", "to", "share")]


@pytest.mark.parametrize("viewport", [browsing.DESKTOP, browsing.PHONE], ids=["desktop", "phone"])
@in_browser
def test_visitor(browser, url, model, viewport, tmp_path):  # noqa: F811
    phone = viewport == browsing.PHONE
    options = {"viewport": viewport, "is_mobile": phone, "has_touch": phone}
    with browsing.opened(browser, url, **options) as page:
        page.wait_for_selector("#latency:visible")
        picture, mask = images_of(page)
        image, ids = wanted(model, 0, 1, 0)
        np.testing.assert_array_equal(picture[..., :3], image)
        assert ((mask[..., 3] > 0) == (ids > 0)).all() and len(np.unique(ids)) > 1
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.locator("#another").click()
        browsing.said(page, "Another one")
        seed, to, share = state(page)
        assert (to, share) == ("1", "0") and seed != "0"
        image, _ = wanted(model, int(seed), 1, 0)
        np.testing.assert_array_equal(images_of(page)[0][..., :3], image)
        page.locator("#share").fill("40")
        image, _ = wanted(model, int(seed), 1, 0.4)
        np.testing.assert_array_equal(images_of(page)[0][..., :3], image)
        assert page.url.endswith(f"#seed={seed}&to=1&share=40")
        shared = page.url
        page.go_back()
        page.wait_for_function("document.querySelector('#seed').value === '0'")
        page.goto(shared)
        np.testing.assert_array_equal(images_of(page)[0][..., :3], image)
        page.locator("#show-mask").uncheck()
        assert not page.locator("#mask").is_visible()
        with page.expect_download() as saved:
            page.locator("#save-mask").click()
        saved.value.save_as(tmp_path / "mask.png")
        assert saved.value.suggested_filename == f"seed{seed}_40_to1_mask.png"
        page.locator("#seed").fill("-3")
        page.locator("#seed").blur()
        assert "A seed is a whole number from 0" in browsing.message(page)
    with Image.open(tmp_path / "mask.png") as mask:
        assert mask.getpalette()[3:6] == palette.colours()[1].tolist()
        np.testing.assert_array_equal(mask, wanted(model, int(seed), 1, 0.4)[1])

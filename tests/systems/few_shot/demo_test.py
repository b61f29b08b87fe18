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

from oasis_tf.io.images import to_uint8
from oasis_tf.systems.few_shot.demo import application, contract
from oasis_tf.systems.few_shot.demo.signatures import Signatures
from oasis_tf.web import pages
from tests.systems.few_shot.conftest import SIZE
from tests.web import browsing
from tests.web.asgi import Client
from tests.web.browsing import browser, in_browser, start_demo  # noqa: F401 (fixtures)
from tests.web.fake_serving import FakeServing

PREDICT = "/v1/models/few_shot:predict"
STILL = [0.0] * contract.SLIDERS
MOVED = [0.5, -1.0, *STILL[2:]]


@pytest.fixture(scope="module")
def client(adapted_dir):
    return Client(application.application(adapted_dir))


def decoded(value):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(value["b64"]))))


def wanted(model, seed, amounts=STILL, truncation=1.0):
    """Image and the source's, uint8 [H, W, 3]."""
    latent = model.prior.moved(model.latents([seed]), np.array([amounts], np.float32))
    samples = model.sample_latents(latent, truncation, source=True)
    return [to_uint8(images[0]) for images in (samples.image, samples.source)]


def near(found, image):
    """Rounding may move values by one."""
    return np.abs(found.astype(int) - image).max() <= 1


def test_answers(client, adapted):
    for amounts, truncation in ((STILL, 1), (MOVED, 0.5)):
        inputs = {"seed": 2**52, "amounts": amounts, "truncation": truncation}
        body = {"signature_name": "png", "instances": [inputs]}
        (found,) = client.post(PREDICT, json=body).json()["predictions"]
        image, source = wanted(adapted, 2**52, amounts, truncation)
        assert near(decoded(found["image_bytes"]), image)
        assert near(decoded(found["source_bytes"]), source)
    plain = to_uint8(adapted.sample(2**52).image[0])
    assert near(plain, wanted(adapted, 2**52)[0])
    assert not near(plain, wanted(adapted, 2**52, MOVED)[0])


@pytest.mark.parametrize(
    ("amounts", "message"),
    [
        ([0.0], "`amounts` must be 6 numbers. Received: 1"),
        ([2.0] * 6, "numbers in -1..1"),
        ("a", "`amounts` must be a list"),
    ],
)
def test_bad_sliders(client, amounts, message):
    inputs = {"seed": 0, "amounts": amounts, "truncation": 1}
    answer = client.post(PREDICT, json={"signature_name": "png", "instances": [inputs]})
    assert answer.status_code == 400 and message in answer.json()["error"]


def test_what_the_page_knows(client):
    facts = client.get("/model.json").json()
    assert (facts["height"], facts["width"], facts["origin"]) == (SIZE, SIZE, "step 7")
    assert facts["adapted"] and facts["sliders"] == contract.SLIDERS
    assert contract.outputs(False) == {"png": ("image_bytes",)}


def test_page_is_whole(client):
    files = {f.name: f.read_text(encoding="utf-8") for f in pages.files(application.__package__)}
    index, scripts = files["index.html"], files["main.js"] + files["generating.js"]
    links = re.findall(r'(?:href|src)="([\w.]+)', index)
    links += re.findall(r'from "\./(.+)"', scripts + files["state.js"])
    assert set(links) <= set(files)
    assert all(client.get(f"/{name}").text == files[name] for name in links if "svg" not in name)
    used = set(re.findall(r'\$\("([\w-]+)"\)', scripts + files["messages.js"]))
    assert used <= set(re.findall(r'id="([\w-]+)"', index))
    assert not re.search(r'\bstyle="|\son\w+="|<script>|<style', index)


def test_a_served_model(adapted):
    inputs = {"seed": 7, "amounts": MOVED, "truncation": 0.5}
    signatures = Signatures(adapted)
    with FakeServing(signatures) as server:
        served = application.served(server.url, adapted.config)
        served.warm_up()
        assert served("png", inputs) == signatures("png", inputs)


@pytest.mark.slow
def test_the_savedmodel_answers_alike(adapted, tmp_path):
    """Its signature `png`, and warm-up records of all signatures."""
    pytest.importorskip("tensorflow_serving", reason="the extra `serving` is not installed")
    from export import savedmodel
    from export.serving import warmup

    path = str(tmp_path / "1")
    names = savedmodel.export(adapted, path, warm_up=True)
    assert {name for name, _ in warmup.replay(path)} == set(names)
    found = warmup.load(path)
    made = found["png"](
        seed=tf.constant([7], tf.int64),
        amounts=tf.constant([MOVED]),
        truncation=tf.constant([0.5]),
    )
    pictures = [
        Image.open(io.BytesIO(made[f"{name}_bytes"].numpy()[0])) for name in ("image", "source")
    ]
    for got, want in zip(pictures, wanted(adapted, 7, MOVED, 0.5), strict=True):
        assert near(np.asarray(got), want)
    seed, truncation = tf.constant([7], tf.int64), tf.constant(0.5)
    sampled = adapted.sample(7, 0.5).image
    for made in (
        found["sample"](seed=seed, truncation=truncation),
        found["from_latent"](latent=adapted.latents([7]), truncation=truncation),
    ):
        np.testing.assert_allclose(made["image"], sampled, atol=1e-4)
    with pytest.raises(tf.errors.InvalidArgumentError, match="`truncation` must be in"):
        found["sample"](seed=seed, truncation=tf.constant(2.0))


# === In a browser ===


@pytest.fixture(scope="module")
def url(start_demo, adapted_dir):  # noqa: F811
    with start_demo(f"--model_dir={adapted_dir}") as url:
        yield url


def images_of(page):
    browsing.settle(page)
    return [browsing.pixels(page, name)[..., :3] for name in ("#picture", "#source")]


def shows(page, *state):
    return all(map(near, images_of(page), wanted(*state)))


@pytest.mark.parametrize("viewport", [browsing.DESKTOP, browsing.PHONE], ids=["desktop", "phone"])
@in_browser
def test_visitor(browser, url, adapted, viewport, tmp_path):  # noqa: F811
    phone = viewport == browsing.PHONE
    options = {"viewport": viewport, "is_mobile": phone, "has_touch": phone}
    with browsing.opened(browser, url, **options) as page:
        page.wait_for_selector("#latency:visible")
        assert shows(page, adapted, 0)
        left, right = (page.locator(f"#{name}").bounding_box() for name in ("source", "picture"))
        assert left["x"] + left["width"] <= right["x"] and left["y"] == right["y"]
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.locator("#another").click()
        browsing.said(page, "Another one")
        seed = page.locator("#seed").input_value()
        assert seed != "0" and shows(page, adapted, int(seed))
        page.locator("#slider2").fill("-60")
        page.locator("#truncation").fill("40")
        amounts = [0, -0.6, 0, 0, 0, 0]
        assert shows(page, adapted, int(seed), amounts, 0.4)
        assert page.url.endswith(f"#seed={seed}&truncation=40&sliders=0,-60,0,0,0,0")
        shared = page.url
        page.locator("#reset").click()
        assert shows(page, adapted, int(seed))
        page.go_back()
        assert shows(page, adapted, int(seed), amounts, 0.4)
        page.goto(shared)
        assert page.locator("#slider2").input_value() == "-60"
        with page.expect_download() as saved:
            page.locator("#save-source").click()
        assert saved.value.suggested_filename == f"seed{seed}_source.png"
        page.locator("#seed").fill("-3")
        page.locator("#seed").blur()
        assert "A seed is a whole number from 0" in browsing.message(page)

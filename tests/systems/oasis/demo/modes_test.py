"""The page's other modes in a browser: TensorFlow Serving, or the model in the page."""

import contextlib
import functools
import http.server
import threading

import numpy as np
import pytest
from PIL import Image

from export import litert_js, static_page
from oasis_tf.data.shapes import scene
from oasis_tf.io import images
from oasis_tf.io.label_files import resize_label_map
from oasis_tf.systems.oasis import editing, noise
from oasis_tf.systems.oasis.demo.signatures import Signatures
from tests.systems.oasis.demo import browsing
from tests.systems.oasis.demo.browsing import (
    PHONE,
    SIDE,
    SPACE,
    choose,
    drag,
    file_of,
    hand_in,
    image,
    labels,
    message,
    ready,
    said,
    settle,
)
from tests.web.fake_serving import FakeServing

pytestmark = browsing.MARKS
NEEDS_EDIT = ["#reroll-class", "#reroll-region", "#tools label:has([value=lasso])"]


def generated(model, label_map, **wanted):
    return images.to_uint8(model.generate(label_map, **wanted)).astype(int)


@contextlib.contextmanager
def static_server(folder):
    """Serves a folder as `python -m http.server` does; gives the address."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            """Nothing."""

    handler = functools.partial(Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def signatures(model):
    return Signatures(model)


@pytest.fixture(scope="module")
def fake(signatures):
    with FakeServing(signatures, cors=True) as server:
        yield server


@pytest.fixture
def restored(fake):
    """`fake`, as it was afterwards."""
    served = list(fake.served)
    yield fake
    fake.served, fake.cors = served, True
    fake.replies.clear()


# === The demo with TensorFlow Serving ===


@pytest.fixture(scope="module")
def proxy_url(start_demo, fake, model_dir, examples_dir):
    with start_demo(
        f"--model_dir={model_dir}", f"--examples={examples_dir}", f"--serving_url={fake.url}"
    ) as url:
        yield url


def test_the_demo_with_serving(browser, proxy_url, restored, model):
    with browsing.opened(browser, proxy_url) as page:
        ready(page)
        assert "TensorFlow Serving, version 3" in page.locator("#about").inner_text()
        np.testing.assert_array_equal(image(page), generated(model, labels(page), seed=0))
        choose(page, "balloon")
        drag(page, (8, 8), (24, 8))
        page.locator("#share").fill("100")
        np.testing.assert_array_equal(image(page), generated(model, labels(page), seed=1))
        page.locator("#reroll-class").click()
        settle(page)
        _, verb, request = restored.asked[-1]
        (seed,) = set(request["instances"][0]["other_seed"]) - {1}
        base = editing.image_noise(SIDE, SIDE, 1, 4)
        field = editing.class_noise(labels(page), {11: seed}, 4, base)
        np.testing.assert_array_equal(image(page), generated(model, labels(page), noise=field))
        photograph = file_of(Image.fromarray(scene(6, 0, SIDE, SIDE)[0]))
        hand_in(page, "photograph", "photo.png", photograph)
        said(page, "photo.png")
        np.testing.assert_array_equal(labels(page), model.segment(scene(6, 0, SIDE, SIDE)[0]))
        restored.replies[":predict"] = 500, b'{"error": "out of memory"}'
        page.locator("#reroll-all").click()
        assert "answers 500: out of memory" in message(page)
        restored.replies[":predict"] = lambda handler: handler.connection.close()
        page.locator("#reroll-all").click()
        assert "Is TensorFlow Serving running there?" in message(page)
        restored.replies.clear()
        before = image(page)
        page.locator("#reroll-all").click()
        assert (image(page) != before).any()


# === A static page that asks TensorFlow Serving ===


@pytest.fixture(scope="module")
def serving_site(fake, model_dir, examples_dir, tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    source = static_page.Serving.load(fake.url, model_dir)
    static_page.write(str(folder / "sub"), source, examples_dir)
    with static_server(folder) as url:
        yield f"{url}/sub"


def test_static_page_asks_serving(browser, serving_site, restored, model):
    origins = (restored.url.split("/v1")[0],)
    provoked = ["blocked by CORS policy"]
    with browsing.opened(browser, serving_site, origins=origins, provoked=provoked) as page:
        ready(page)
        np.testing.assert_array_equal(image(page), generated(model, labels(page), seed=0))
        page.locator("#share").fill("25")
        ends = (editing.image_noise(SIDE, SIDE, seed, 4) for seed in (0, 1))
        want = generated(model, labels(page), noise=editing.interpolate(*ends, 0.25))
        np.testing.assert_array_equal(image(page), want)
        hand_in(page, "photograph", "photo.png", file_of(Image.fromarray(scene(6, 0, 64, 64)[0])))
        said(page, "photo.png")
        np.testing.assert_array_equal(labels(page), model.segment(scene(6, 0, 64, 64)[0]))
        restored.cors = False  # the browser keeps the answers from the page
        page.locator("#reroll-all").click()
        assert "--rest_api_enable_cors_support" in message(page)


def test_features_that_serving_lacks_are_hidden(browser, serving_site, restored, model):
    restored.served = ["png"]
    origins = (restored.url.split("/v1")[0],)
    with browsing.opened(browser, serving_site, origins=origins) as page:
        ready(page)
        np.testing.assert_array_equal(image(page), generated(model, labels(page), seed=0))
        for hidden in [*NEEDS_EDIT, "#share", "#open-photograph", "#no-noise"]:
            assert page.locator(hidden).is_hidden()
        page.locator("#reroll-all").click()
        settle(page)
        (instance,) = restored.asked[-1][2]["instances"]
        want = generated(model, labels(page), seed=instance["seed"])
        np.testing.assert_array_equal(image(page), want)


def test_serving_that_cannot_generate(browser, serving_site, restored):
    restored.served = ["png_segment"]
    origins = (restored.url.split("/v1")[0],)
    with browsing.opened(browser, serving_site, origins=origins) as page:
        assert 'has no signature "png"' in message(page)


# === A static page that runs the model ===


@pytest.fixture(scope="module")
def litert_package():
    with contextlib.ExitStack() as stack:
        try:
            core = stack.enter_context(litert_js.package())
        except ValueError as error:
            pytest.skip(f"The npm package of LiteRT.js cannot be had: {error}")
        yield core


@contextlib.contextmanager
def site_of(tflite_files, litert_package, examples_dir, folder):
    """Writes a page into a subfolder of a folder and serves that; gives the address."""
    paths = (str(tflite_files / f"{name}.tflite") for name in ("generator", "segmenter"))
    source = static_page.Tflite.load(*paths, litert_package)
    static_page.write(str(folder / "sub"), source, examples_dir)
    with static_server(folder) as url:
        yield f"{url}/sub"


@pytest.fixture(scope="module")
def litert_site(formula_tflite, litert_package, examples_dir, tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    with site_of(formula_tflite, litert_package, examples_dir, folder) as url:
        yield url


@pytest.fixture
def litert_page(browser, litert_site):
    with browsing.opened(browser, litert_site) as page:
        ready(page)
        yield page


def vectors(*seeds):
    return noise.sample_noise(np.array(seeds, np.int64), 4).numpy()


def assert_shown(page, want):
    """The page's image is a picture but for rounding."""
    difference = np.abs(image(page) - want)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.02


def test_drawing_in_the_page(litert_page, formula_image):
    page, (first, second) = litert_page, vectors(0, 1)
    ids = scene(2, 0, SIDE, SIDE)[1]
    np.testing.assert_array_equal(labels(page), ids)
    assert_shown(page, formula_image(ids, first))
    assert "ms, model" in page.locator("#latency").inner_text()
    assert "step 2, float32, in this browser" in page.locator("#about").inner_text()
    choose(page, "balloon")
    drag(page, (8, 8), (24, 8))
    assert (labels(page) == 11).sum() > (ids == 11).sum() + 60
    assert_shown(page, formula_image(labels(page), first))
    page.locator("#share").fill("100")
    assert_shown(page, formula_image(labels(page), second))
    page.locator("#share").fill("25")
    assert_shown(page, formula_image(labels(page), 0.75 * first + 0.25 * second))
    before = image(page)
    page.locator("#reroll-all").click()
    assert np.abs(image(page) - before).mean() > 1
    assert page.url.endswith(f"#seed={page.locator('#seed').input_value()}&share=25")
    page.keyboard.press("Control+z")
    np.testing.assert_array_equal(image(page), before)


@pytest.mark.slow
def test_a_model_in_the_page(browser, tflite_files, litert_package, examples_dir, model, tmp_path):
    with (
        site_of(tflite_files, litert_package, examples_dir, tmp_path) as url,
        browsing.opened(browser, url) as page,
    ):
        ready(page)
        assert_shown(page, generated(model, labels(page), seed=0))
        page.locator("#share").fill("25")
        ends = (editing.image_noise(SIDE, SIDE, seed, 4) for seed in (0, 1))
        field = editing.interpolate(*ends, 0.25)
        assert_shown(page, generated(model, labels(page), noise=field))
        photograph = scene(6, 0, SIDE, SIDE)[0]
        hand_in(page, "photograph", "photo.png", file_of(Image.fromarray(photograph)))
        said(page, "photo.png")
        assert (labels(page) == model.segment(photograph)).mean() > 0.999
        assert_shown(page, generated(model, labels(page), noise=field))


def test_what_one_vector_cannot_do_is_hidden(litert_page):
    for hidden in [*NEEDS_EDIT, "#no-noise", "#save-large"]:
        assert litert_page.locator(hidden).is_hidden()
    for shown in ["#share", "#reroll-all", "#open-photograph"]:
        assert litert_page.locator(shown).is_visible()
    before = image(litert_page)
    for key in "lcg":
        litert_page.keyboard.press(key)
    assert litert_page.locator("#tools :checked").input_value() == "brush"
    np.testing.assert_array_equal(image(litert_page), before)
    litert_page.keyboard.press("?")
    text = litert_page.locator("#help").inner_text()
    assert "Re-roll all" in text and "region" not in text


def test_photograph_in_the_page(litert_page, formula_image):
    ids = scene(6, 0, SIDE, SIDE)[1]
    photograph = np.zeros((64, 128, 3), np.uint8)
    photograph[:, 32:96] = SPACE.colorize(ids)  # its middle is all that is kept
    hand_in(litert_page, "photograph", "photo.png", file_of(Image.fromarray(photograph)))
    said(litert_page, "photo.png")
    np.testing.assert_array_equal(labels(litert_page), ids)
    assert_shown(litert_page, formula_image(ids, vectors(0)[0]))
    hand_in(litert_page, "photograph", "photo.jpg", b"\xff\xd8garbage", "image/jpeg")
    assert "The photograph cannot be read" in message(litert_page)


def label_files():
    """Label files of every kind that the page reads, 96 x 48."""
    ids = scene(5, 1, 96, 48)[1]
    palette = Image.fromarray(ids)
    palette.putpalette([value for colour in SPACE.palette for value in colour])
    colours = Image.fromarray(SPACE.colorize(ids))
    other = Image.fromarray(ids + 40)
    other.putpalette([9] * 120 + [value for colour in SPACE.palette for value in colour])
    few = Image.fromarray(np.minimum(ids, 3))
    few.putpalette([0] * 12)
    return {
        "grey": (Image.fromarray(ids), ids),
        "grey16": (Image.fromarray(ids.astype(np.uint16)), ids),
        "palette": (palette, ids),
        "packed": (few, np.minimum(ids, 3)),
        "bits": (Image.fromarray(ids > 1), ids > 1),
        "colours": (colours, ids),
        "opaque": (colours.convert("RGBA"), ids),
        "equal": (Image.fromarray(np.dstack([ids] * 3)), ids),
        "grey_opaque": (Image.fromarray(ids).convert("LA"), ids),
        "other_indices": (other, ids),
    }


def test_label_files_in_the_page(litert_page):
    for name, (picture, ids) in label_files().items():
        litert_page.get_by_label("Begin with Blank").click()
        hand_in(litert_page, "labels", f"{name}.png", file_of(picture))
        said(litert_page, f"{name}.png opened, resized from")
        np.testing.assert_array_equal(labels(litert_page), resize_label_map(ids, SIDE, SIDE))


def test_refused_label_files_in_the_page(litert_page):
    wrong = Image.fromarray(np.full((64, 64), 99, np.uint8))
    colours = Image.new("RGB", (64, 64), (1, 2, 3))
    flipped = bytearray(file_of(Image.fromarray(np.eye(64, dtype=np.uint8))))
    flipped[-16] ^= 1  # in the checksum of the pixels' chunk
    noisy = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    glass = Image.new("RGBA", (64, 64), (*SPACE.palette[0], 9))
    refused = [
        (b"garbage", "cannot be read as PNG"),
        (b"", "cannot be read as PNG"),
        (file_of(wrong)[:80], "cannot be read as PNG. The file is damaged"),
        (file_of(Image.new("RGB", (64, 64)), "JPEG"), "is a JPEG file, a photograph"),
        (file_of(wrong), "label values 99 are no classes"),
        (file_of(colours), "colours #010203 are no classes"),
        (file_of(noisy), "looks like a photograph"),
        (file_of(glass), "must be opaque"),
        (file_of(Image.new("LA", (64, 64))), "must be opaque"),
        (bytes(flipped), "The file is damaged"),
        (file_of(Image.new("1", (5000, 5000))), "16,777,216 pixels at most"),
    ]
    before = labels(litert_page)
    for contents, words in refused:
        hand_in(litert_page, "labels", "a.png", contents)
        assert words in message(litert_page)
        np.testing.assert_array_equal(labels(litert_page), before)


def test_saved_image_is_what_is_shown(litert_page, tmp_path):
    shown = image(litert_page)
    with litert_page.expect_download() as download:
        litert_page.locator("#save-image").click()
    download.value.save_as(tmp_path / "image.png")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "image.png")), shown)


def test_noise_of_seeds_is_the_servers(litert_page):
    seeds = [0, 1, 7, 2**31 - 1, 2**40 + 5, 2**53 - 1, -1, -(2**40) - 3, *range(100, 120)]
    for channels in (1, 4, 67):
        got = litert_page.evaluate(
            """async ([seeds, channels]) => {
              const { noiseVector } = await import("./philox.js");
              return seeds.map((seed) => Array.from(noiseVector(seed, channels)));
            }""",
            [seeds, channels],
        )
        want = noise.sample_noise(np.array(seeds, np.int64), channels).numpy()
        np.testing.assert_allclose(got, want, atol=1e-6, rtol=0)


def test_policy_binds_page_and_worker(browser, litert_site):
    """Requests that a foreign script might send do not leave the browser."""
    script = """async (url) => {
      const inPage = await fetch(url).then(() => "sent", () => "refused");
      const text = `fetch(${JSON.stringify(url)}).then(
        () => postMessage("sent"), () => postMessage("refused"))`;
      const worker = new Worker(URL.createObjectURL(new Blob([text])));
      const inWorker = await new Promise((resolve) => (worker.onmessage = ({ data }) =>
        resolve(data)));
      return [inPage, inWorker];
    }"""
    with (
        FakeServing(cors=True) as other,
        browsing.opened(browser, litert_site, provoked=["Content Security Policy"]) as page,
    ):
        ready(page)
        assert page.evaluate(script, other.url) == ["refused", "refused"]
        assert not other.asked


def test_a_phone(browser, litert_site):
    phone = {"viewport": PHONE, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}
    with browsing.opened(browser, litert_site, **phone) as page:
        ready(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        for button in page.locator("button:visible, #tools label:visible").all():
            box = button.bounding_box()
            assert min(box["height"], box["width"]) >= 24
        before = image(page)
        page.locator("#reroll-all").tap()
        said(page, "New noise")
        assert (image(page) != before).any()


def test_a_missing_model_is_told(browser, litert_site):
    with browsing.opened(browser, litert_site) as page:
        ready(page)
        page.route("**/generator.tflite", lambda route: route.abort())
        page.reload()
        assert "generator.tflite cannot be loaded" in message(page)

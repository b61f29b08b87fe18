"""What tests do with the page in a browser, and what they see there."""

import base64
import contextlib
import io
import shutil

import numpy as np

from oasis_tf.data.datasets import published_label_space
from oasis_tf.io import label_files

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
SPACE = published_label_space("shapes")
SIDE = 64
DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
# The console also tells of answers that tests provoke; everything else there is a defect.
PROVOKED = ("the server responded with a status of", "net::ERR_")


@contextlib.contextmanager
def opened(browser, url, *, origins=(), provoked=(), **options):
    """Gives the page at an address; afterwards: nothing asked of other hosts, no errors.

    Args:
        browser: Playwright's.
        url: address of the page's folder, without a slash at its end.
        origins: other addresses that the page may ask.
        provoked: parts of what the console may say.
        options: of the browser's context.
    """
    context = browser.new_context(**({"accept_downloads": True, "viewport": DESKTOP} | options))
    page, asked, errors = context.new_page(), [], []
    context.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: message.type == "error" and errors.append(message.text))
    page.set_default_timeout(20_000)
    page.goto(f"{url}/")
    yield page
    own = (f"{url}/", "blob:", *origins)
    assert not [one for one in asked if not one.startswith(own)]
    assert not [text for text in errors if not any(part in text for part in (*PROVOKED, *provoked))]
    context.close()


def ready(page):
    """Waits for the first image and the examples."""
    page.wait_for_selector("#latency:visible")
    page.wait_for_selector(".thumbnail >> nth=2")
    settle(page)


def settle(page):
    page.wait_for_selector("body[data-state=idle]")


def said(page, word):
    page.wait_for_selector(f"#spoken:has-text('{word}')", state="attached")


def canvas(page, pane):
    """Pixels of a canvas, uint8 [64, 64, 3]."""
    data = page.evaluate(
        """(pane) => {
          const canvas = document.querySelector(`#${pane} .picture`);
          const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
          return btoa(Array.from(data, (value) => String.fromCharCode(value)).join(""));
        }""",
        pane,
    )
    return np.frombuffer(base64.b64decode(data), np.uint8).reshape(SIDE, SIDE, 4)[..., :3]


def image(page):
    settle(page)
    return canvas(page, "image").astype(int)


def labels(page):
    """The label map as drawn, from its colours."""
    return label_files.colours_to_model_ids(canvas(page, "map"), SPACE, "the page").astype(int)


def place(page, x, y, pane="map"):
    """Position on the page of a pixel's centre."""
    box = page.locator(f"#{pane} .frame").bounding_box()
    return (
        box["x"] + (x + 0.5) * box["width"] / SIDE,
        box["y"] + (y + 0.5) * box["height"] / SIDE,
    )


def drag(page, *points, pane="map"):
    page.mouse.move(*place(page, *points[0], pane))
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*place(page, *point, pane), steps=6)
    page.mouse.up()


def choose(page, name):
    page.locator("#class-list label", has_text=name).click()


def tool(page, name):
    page.locator(f"#tools label:has([value={name}])").click()


def file_of(picture, kind="PNG"):
    file = io.BytesIO()
    picture.save(file, kind)
    return file.getvalue()


def hand_in(page, what, name, contents, kind="image/png"):
    files = {"name": name, "mimeType": kind, "buffer": contents}
    page.locator(f"#{what}-file").set_input_files(files)


def message(page):
    page.wait_for_selector("#message:visible")
    text = page.locator("#message").inner_text()
    assert "Traceback" not in text and "    at " not in text
    page.locator("#message").click()
    return text

"""What tests do with the page in a browser, and what they see there."""

import io

from oasis_tf.data.datasets import published_label_space
from oasis_tf.io import label_files
from tests.web.browsing import (  # noqa: F401 (for the tests)
    MARKS,
    PHONE,
    message,
    opened,
    pixels,
    said,
    settle,
)

SPACE = published_label_space("shapes")
SIDE = 64


def ready(page):
    """Waits for the first image and the examples."""
    page.wait_for_selector("#latency:visible")
    page.wait_for_selector(".thumbnail >> nth=2")
    settle(page)


def canvas(page, pane):
    """Pixels of a canvas, uint8 [64, 64, 3]."""
    return pixels(page, f"#{pane} .picture")[..., :3]


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

"""A demo's page as files: what makes its predictions, its model.json, its examples.

The page itself is its system's, which the system's ability `page` gives.
"""

import dataclasses
import json
import os
import shutil
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

from export import litert_js
from export.litert import planning
from oasis_tf import systems
from oasis_tf.data.datasets import LabelSpace
from oasis_tf.io import files, json_files
from oasis_tf.settings.run_config import FIRST_SYSTEM
from oasis_tf.web import serving
from oasis_tf.web.pictures import encode_png

FORMAT_VERSION = 1
_TFLITE_MARK = slice(4, 8), b"TFL3"
_REMEDY = "Write it with python -m export.tflite."
_KEYS = {
    "classes",
    "dataset",
    "format_version",
    "has_unknown",
    "height",
    "network",
    "noise_channels",
    "quantize",
    "step",
    "width",
}
_CHARSET = '<meta charset="utf-8">\n'


@dataclasses.dataclass(frozen=True)
class Serving:
    """A page whose browser asks TensorFlow Serving.

    Attributes:
        page: module of the system's ability `page`.
        url: of the model.
        label_space: `LabelSpace`.
        height, width, noise_channels: of the model.
    """

    page: Any
    url: str
    label_space: LabelSpace
    height: int
    width: int
    noise_channels: int
    mode: ClassVar[str] = "rest"

    @classmethod
    def load(cls, url, model_dir):
        """Reads what the model is; nothing is asked of the server.

        Raises:
            ValueError: a wrong form of the address, or a system without a page.
            FileNotFoundError: no model directory.
        """
        system = systems.of_model_dir(model_dir)
        page, config = system.ability("page"), system.config.load(model_dir)
        return cls(
            page,
            serving.check_url(url),
            config.label_space,
            config.data.crop_height,
            config.data.crop_width,
            page.noise_channels(config),
        )

    def facts(self):
        """What model.json says of the backend."""
        return {
            "origin": "TensorFlow Serving",
            "backend": {"kind": "rest", "url": self.url, "own": False},
        }

    def policy(self):
        """What scripts may do and ask, as directives of a Content-Security-Policy."""
        parts = urlsplit(self.url)
        return f"script-src 'self'; connect-src 'self' {parts.scheme}://{parts.netloc}"

    def write(self, folder):
        """Writes what only this kind of page needs."""


@dataclasses.dataclass(frozen=True)
class Tflite:
    """A page that runs the model itself.

    Attributes:
        page: module of the system's ability `page`.
        generator, segmenter: paths of .tflite files, the segmenter perhaps None.
        litert: folder of the npm package of LiteRT.js, or None to fetch it.
        sidecar: what stands beside the generator.
        label_space: `LabelSpace` of it.
    """

    page: Any
    generator: str
    segmenter: str | None
    litert: str | None
    sidecar: dict
    label_space: LabelSpace
    mode: ClassVar[str] = "litert"

    @classmethod
    def load(cls, generator, segmenter=None, litert=None):
        """Reads what stands beside the files.

        Raises:
            ValueError: no such files, of another network, size or classes than must be.
        """
        sidecar = _sidecar(generator, "generator")
        if segmenter:
            other = _sidecar(segmenter, "segmenter")
            for key in ("height", "width", "classes"):
                if other[key] != sidecar[key]:
                    raise ValueError(
                        f"Generator and segmenter must have the same {key}. Received: {generator} "
                        f"and {segmenter}."
                    )
        page = systems.get(sidecar.get("system", FIRST_SYSTEM)).ability("page")
        return cls(page, generator, segmenter, litert, sidecar, _label_space(sidecar, generator))

    @property
    def height(self):
        return self.sidecar["height"]

    @property
    def width(self):
        return self.sidecar["width"]

    @property
    def noise_channels(self):
        return self.sidecar["noise_channels"]

    def facts(self):
        """What model.json says of the backend."""
        numbers = planning.QUANTIZATIONS[self.sidecar["quantize"]]
        return {
            "origin": f"step {self.sidecar['step']}, {numbers}, in this browser",
            "backend": {
                "kind": "litert",
                "generator": "generator.tflite",
                "segmenter": "segmenter.tflite" if self.segmenter else None,
            },
        }

    def policy(self):
        """What scripts may do and ask, as directives of a Content-Security-Policy."""
        return "script-src 'self' 'wasm-unsafe-eval'; worker-src blob:; connect-src 'self'"

    def write(self, folder):
        """Writes what only this kind of page needs."""
        shutil.copyfile(self.generator, os.path.join(folder, "generator.tflite"))
        if self.segmenter:
            shutil.copyfile(self.segmenter, os.path.join(folder, "segmenter.tflite"))
        with litert_js.package(self.litert) as core:
            litert_js.copy(core, os.path.join(folder, "litert"))
        Path(folder, "NOTICE").write_text(litert_js.notice(), encoding="utf-8")


def _sidecar(path, network):
    """The facts beside a .tflite file."""
    place, mark = _TFLITE_MARK
    beside = Path(planning.sidecar(path))
    try:
        with open(path, "rb") as file:
            head = file.read(place.stop)
        sidecar = json_files.read(beside)
    except OSError as error:
        raise ValueError(f"Cannot be read: {error.filename}. {_REMEDY}") from error
    except ValueError as error:
        raise ValueError(f"{error} Or else: {_REMEDY}") from error
    if head[place] != mark:
        raise ValueError(f"Not a .tflite file: {path}")
    if not isinstance(sidecar, dict) or not set(sidecar) >= _KEYS:
        raise ValueError(f"{beside} must be an object with {', '.join(sorted(_KEYS))}. {_REMEDY}")
    received = sidecar["format_version"], sidecar["network"]
    if received != (FORMAT_VERSION, network):
        raise ValueError(
            f"{beside} must tell of a {network} in format {FORMAT_VERSION}. Received: format "
            f"{received[0]}, network {received[1]}."
        )
    if sidecar["quantize"] not in planning.QUANTIZATIONS:
        raise ValueError(
            f"{beside}: `quantize` must be one of {', '.join(planning.QUANTIZATIONS)}. "
            f"Received: {sidecar['quantize']}."
        )
    if not sidecar["height"] or not sidecar["width"]:
        raise ValueError(f"{path} must have a fixed size: the page generates at one. {_REMEDY}")
    return sidecar


def _label_space(sidecar, path):
    try:
        return LabelSpace.from_classes(
            sidecar["dataset"], sidecar["has_unknown"], sidecar["classes"]
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"The classes in the .json beside {path}: {error}. {_REMEDY}") from error


# === Writing ===


def write(path, source, example_path=None):
    """Writes a page that is whole or absent.

    Args:
        path: folder to make, or an empty one.
        source: `Tflite` or `Serving`.
        example_path: label PNG or folder of them to begin with, or None.

    Raises:
        FileExistsError: something lies there.
        ValueError: unreadable examples; LiteRT.js cannot be had.
        OSError: the folder cannot be written.
    """
    if os.path.exists(path) and not (os.path.isdir(path) and not os.listdir(path)):
        raise FileExistsError(f"`output` must be a new folder, or an empty one. Received: {path}")
    size = source.height, source.width
    found = []
    if example_path:
        found = source.page.from_folder(example_path, source.label_space, *size)
    with files.folder_written_aside(path) as aside:
        _write_page(aside, source)
        facts = source.page.facts(source.label_space) | source.facts()
        facts |= {"height": size[0], "width": size[1], "noise_channels": source.noise_channels}
        facts |= {"reader": "page", "examples": _write_examples(aside, found)}
        text = json.dumps(facts, ensure_ascii=False, indent=1)
        Path(aside, "model.json").write_text(text, encoding="utf-8")
        source.write(aside)


def _write_page(folder, source):
    for file in source.page.files(source.mode):
        text = file.read_text(encoding="utf-8")
        if file.name == "index.html":
            text = text.replace(_CHARSET, _CHARSET + _policy(source), 1)
        Path(folder, file.name).write_text(text, encoding="utf-8")
    Path(folder, "LICENSE").write_text(litert_js.license_text(), encoding="utf-8")


def _policy(source):
    content = (
        f"default-src 'none'; {source.policy()}; style-src 'self'; img-src 'self' blob:; "
        "base-uri 'none'; form-action 'none'"
    )
    return f'    <meta http-equiv="Content-Security-Policy" content="{content}">\n'


def _write_examples(folder, found):
    if found:
        os.mkdir(os.path.join(folder, "examples"))
    listed = []
    for number, (name, label_map) in enumerate(found):
        url = f"examples/{number}.png"
        Path(folder, url).write_bytes(encode_png(label_map))
        listed.append({"name": name, "url": url})
    return listed

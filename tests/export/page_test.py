"""Static pages: what is copied, what the page may do, and what stops the command."""

import json
import os
import re
import stat

import pytest
from PIL import Image

from export import litert_js, page, static_page
from oasis_tf.data.datasets import published_label_space
from oasis_tf.data.shapes import scene
from oasis_tf.io.label_files import resize_label_map
from oasis_tf.systems.oasis.config import Config, DataConfig, ModelConfig, TrainingConfig

SPACE = published_label_space("shapes")
URL = "http://serving.example:8501/v1/models/oasis"
LIBRARY = """import { createWasmLib } from "@litertjs/wasm-utils";
//# sourceMappingURL=index.js.map
"""


def write_tflite(folder, network, /, **changes):
    """What looks like a .tflite file, and the description beside it; its path."""
    path = folder / f"{network}.tflite"
    path.write_bytes(b"\x00\x00\x00\x00TFL3 weights")
    description = {
        "format_version": 1,
        "network": network,
        "quantize": "none",
        "height": 64,
        "width": 32,
        "size_multiple": 32,
        "noise_channels": 4,
        "dataset": "shapes",
        "step": 7,
        "has_unknown": False,
        "classes": SPACE.classes(),
    }
    (folder / f"{network}.json").write_text(json.dumps(description | changes))
    return str(path)


@pytest.fixture
def generator(tmp_path):
    return write_tflite(tmp_path, "generator")


@pytest.fixture
def npm_package(tmp_path):
    """A folder like that of the npm package, its helper beside it."""
    scope = tmp_path / "node_modules" / "@litertjs"
    for name, script in (("core", LIBRARY), ("wasm-utils", "export const createWasmLib = 1;\n")):
        (scope / name / "dist").mkdir(parents=True)
        (scope / name / "dist" / "index.js").write_text(script)
        version = litert_js.version()
        facts = {"name": f"@litertjs/{name}", "version": version, "license": "Apache-2.0"}
        (scope / name / "package.json").write_text(json.dumps(facts))
    (scope / "core" / "wasm").mkdir()
    for kind in ("", "_compat", "_threaded", "_jspi"):
        for suffix in ("js", "wasm"):
            (scope / "core" / "wasm" / f"litert_wasm{kind}_internal.{suffix}").write_text(kind)
    return scope / "core"


@pytest.fixture
def model_dir(tmp_path):
    """A model directory of which there is the configuration alone."""
    path = str(tmp_path / "model")
    Config(
        model=ModelConfig(num_classes=12, has_unknown=False, noise_channels=4),
        data=DataConfig(data_dir="nowhere", crop_height=64, crop_width=128),
        training=TrainingConfig(steps=1),
        label_space=SPACE,
    ).save(path)
    return path


@pytest.fixture
def examples_dir(tmp_path):
    folder = tmp_path / "labels"
    folder.mkdir()
    Image.fromarray(scene(2, 0, 96, 48)[1]).save(folder / "scene.png")
    return str(folder)


def built(path, source, examples=None):
    """Files of a page by name, and its facts."""
    static_page.write(str(path), source, examples)
    names = {str(p.relative_to(path)) for p in path.rglob("*") if p.is_file()}
    return names, json.loads((path / "model.json").read_text())


def assert_whole(path, names):
    """Whatever a file asks for is there, and by a path that works in any folder."""
    for name in names:
        if not name.endswith((".js", ".html")) or name.startswith("litert/litert_wasm"):
            continue
        text = (path / name).read_text()
        wanted = re.findall(r'(?:href|src)="([\w./]+)', text) + re.findall(r'from "([^"]+)"', text)
        for other in wanted:
            assert not other.startswith("/")
            place = os.path.normpath(os.path.join(os.path.dirname(name), other))
            assert place in names, f"{name} asks for {other}"
        assert "sourceMappingURL" not in text


def policy(path):
    html = (path / "index.html").read_text()
    (content,) = re.findall(r'http-equiv="Content-Security-Policy" content="(.+?)"', html)
    assert html.index("Content-Security-Policy") < html.index("<script")
    return dict(part.strip().split(" ", 1) for part in content.split(";"))


def test_page_that_runs_the_model(generator, npm_package, examples_dir, tmp_path):
    segmenter, path = write_tflite(tmp_path, "segmenter"), tmp_path / "site" / "sub"
    source = static_page.Tflite.load(generator, segmenter, str(npm_package))
    names, facts = built(path, source, examples_dir)
    assert {"generator.tflite", "segmenter.tflite", "LICENSE", "NOTICE"} <= names
    assert not {"rest.js", "base64.js", "uploads.js"} & names
    assert {name for name in names if name.startswith("litert/")} == {
        "litert/index.js",
        "litert/wasm_utils.js",
        "litert/litert_wasm_internal.js",
        "litert/litert_wasm_internal.wasm",
        "litert/litert_wasm_compat_internal.js",
        "litert/litert_wasm_compat_internal.wasm",
    }
    assert_whole(path, names)
    assert (path / "generator.tflite").read_bytes() == b"\x00\x00\x00\x00TFL3 weights"
    assert facts["backend"] == {
        "kind": "litert",
        "generator": "generator.tflite",
        "segmenter": "segmenter.tflite",
    }
    assert (facts["height"], facts["width"], facts["noise_channels"]) == (64, 32, 4)
    assert (facts["classes"], facts["reader"]) == (SPACE.classes(), "page")
    assert facts["origin"] == "step 7, float32, in this browser"
    assert facts["examples"] == [{"name": "scene", "url": "examples/0.png"}]
    with Image.open(path / "examples" / "0.png") as picture:
        want = resize_label_map(scene(2, 0, 96, 48)[1], 64, 32)
        assert picture.mode == "L" and picture.tobytes() == want.tobytes()
    rules = policy(path)
    assert rules["default-src"] == "'none'" and rules["connect-src"] == "'self'"
    assert rules["script-src"] == "'self' 'wasm-unsafe-eval'"
    assert "Apache License" in (path / "LICENSE").read_text()
    assert (
        f"@litertjs/core and @litertjs/wasm-utils {litert_js.version()}"
        in (path / "NOTICE").read_text()
    )


def test_page_without_segmenter_and_examples(generator, npm_package, tmp_path):
    source = static_page.Tflite.load(generator, None, str(npm_package))
    names, facts = built(tmp_path / "site", source)
    assert facts["backend"]["segmenter"] is None and facts["examples"] == []
    assert not {name for name in names if "segmenter" in name or "examples" in name}


def test_page_that_asks_serving(model_dir, tmp_path):
    path = tmp_path / "site"
    names, facts = built(path, static_page.Serving.load(URL + "/", model_dir))
    assert not {"litert.js", "litert_worker.js", "philox.js", "uploads.js", "NOTICE"} & names
    assert not {name for name in names if name.startswith("litert/")}
    assert_whole(path, names)
    assert facts["backend"] == {"kind": "rest", "url": URL, "own": False}
    assert (facts["height"], facts["width"], facts["noise_channels"]) == (64, 128, 4)
    rules = policy(path)
    assert rules["connect-src"] == "'self' http://serving.example:8501"
    assert rules["script-src"] == "'self'" and "worker-src" not in rules


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format_version": 2}, "generator in format 1. Received: format 2"),
        ({"network": "segmenter"}, "must tell of a generator .*network segmenter"),
        ({"height": None, "width": None}, "must have a fixed size"),
        ({"classes": [{"name": "sky"}]}, r"The classes in the .json beside .*: 'color'"),
        ({"quantize": "int4"}, "`quantize` must be one of none, .* Received: int4"),
    ],
)
def test_refused_descriptions(tmp_path, changes, words):
    path = write_tflite(tmp_path, "generator", **changes)
    with pytest.raises(ValueError, match=words):
        static_page.Tflite.load(path)


def test_files_that_are_missing_or_of_another_kind(tmp_path, generator):
    with pytest.raises(ValueError, match=r"Cannot be read: .*none.tflite.*export.tflite"):
        static_page.Tflite.load(str(tmp_path / "none.tflite"))
    for text in ("[]", '{"format_version": 1}'):
        (tmp_path / "generator.json").write_text(text)
        with pytest.raises(ValueError, match="must be an object with classes, dataset, "):
            static_page.Tflite.load(generator)
    (tmp_path / "generator.json").write_text("{")
    with pytest.raises(ValueError, match=r"generator.json is damaged: it is not JSON"):
        static_page.Tflite.load(generator)
    write_tflite(tmp_path, "generator")
    (tmp_path / "generator.tflite").write_bytes(b"\x89PNG\r\n")
    with pytest.raises(ValueError, match="Not a .tflite file"):
        static_page.Tflite.load(generator)


def test_a_segmenter_of_another_size(tmp_path, generator):
    segmenter = write_tflite(tmp_path, "segmenter", width=64)
    with pytest.raises(ValueError, match="must have the same width"):
        static_page.Tflite.load(generator, segmenter)


# === LiteRT.js ===


def test_packages_that_are_refused(npm_package, tmp_path):
    facts = json.loads((npm_package / "package.json").read_text())
    (npm_package / "package.json").write_text(json.dumps(facts | {"version": "9.9.9"}))
    with (
        pytest.raises(ValueError, match="tested with. Received: @litertjs/core 9.9.9 Apache-2.0"),
        litert_js.package(str(npm_package)),
    ):
        pass
    with (
        pytest.raises(ValueError, match="--litert names the folder node_modules/@litertjs/core"),
        litert_js.package(str(tmp_path)),
    ):
        pass


def test_nothing_is_left_of_a_page_that_failed(generator, npm_package, tmp_path):
    os.remove(npm_package / "wasm" / "litert_wasm_internal.wasm")
    source = static_page.Tflite.load(generator, None, str(npm_package))
    with pytest.raises(ValueError, match="is not whole"):
        static_page.write(str(tmp_path / "above" / "site"), source)
    assert os.listdir(tmp_path / "above") == []


def test_a_library_of_another_form(npm_package, tmp_path):
    (npm_package / "dist" / "index.js").write_text("import 'elsewhere';")
    with pytest.raises(ValueError, match="must import @litertjs/wasm-utils once"):
        litert_js.copy(npm_package, str(tmp_path / "litert"))


def test_without_npm(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match="npm is needed .*--litert="), litert_js.package():
        pass


def test_npm_that_fails(monkeypatch, tmp_path):
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho \"$@\" >&2; echo 'npm error code EINTEGRITY' >&2; exit 1\n")
    npm.chmod(npm.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match="EINTEGRITY") as caught, litert_js.package():
        pass
    assert "ci --ignore-scripts" in str(caught.value)


def test_every_package_has_a_checksum():
    lock = json.loads(litert_js._shipped("package-lock.json"))["packages"]
    wanted = json.loads(litert_js._shipped("package.json"))["dependencies"]
    assert lock.pop("")["dependencies"] == wanted == {litert_js.CORE: litert_js.version()}
    assert {name.removeprefix("node_modules/") for name in lock} == {
        litert_js.CORE,
        litert_js.HELPER,
    }
    for package in lock.values():
        assert package["integrity"].startswith("sha512-")
        assert package["version"] == litert_js.version()
        assert package["license"] == litert_js.LICENSE


# === The command ===


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([], "Either --tflite or --serving_url"),
        (["--tflite=a", "--serving_url=b"], "Either --tflite or --serving_url"),
        (["--tflite=a", "--model_dir=m"], "--tflite does not go with --model_dir"),
        (["--serving_url=b"], "needs --model_dir"),
        (
            ["--serving_url=b", "--model_dir=m", "--segmenter=s", "--litert=l"],
            "--serving_url does not go with --segmenter, --litert",
        ),
    ],
)
def test_flags_that_do_not_go_together(given, words):
    from absl import flags

    values = flags.FlagValues()
    page.define_flags(values)
    values(["page", "--output=x", *given])
    with pytest.raises(ValueError, match=words):
        page.check(values)


def test_command(run_module, generator, npm_package, tmp_path):
    """Neither TensorFlow nor the network is needed."""
    (tmp_path / "tensorflow.py").write_text("raise SystemExit('TensorFlow was loaded')")
    flags = [f"--tflite={generator}", f"--litert={npm_package}", f"--output={tmp_path / 'site'}"]
    done = run_module("export.page", *flags)
    assert done.returncode == 0, done.stderr
    assert "python -m http.server --directory=" in done.stdout
    assert (tmp_path / "site" / "index.html").exists()
    (tmp_path / "site" / "index.html").write_text("mine")
    with pytest.raises(FileExistsError, match="must be a new folder, or an empty one"):
        static_page.write(str(tmp_path / "site"), None)
    assert (tmp_path / "site" / "index.html").read_text() == "mine"

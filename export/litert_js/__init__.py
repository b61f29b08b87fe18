"""LiteRT.js for a page: what of its npm package a browser needs, taken once, never from a CDN.

`package.json` and `package-lock.json` beside this file name the version and, for every package, the
checksum that npm demands. `LICENSE` is that of all of them: they bring no copy of their own.
"""

import contextlib
import importlib.resources
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

CORE, HELPER = "@litertjs/core", "@litertjs/wasm-utils"
LICENSE = "Apache-2.0"
NPM_SECONDS = 300
_HELPER_FILE = "wasm_utils.js"
_IMPORT = f'from "{HELPER}"'
# The usual build, and the one for browsers without relaxed SIMD. Others need threads, which only
# servers with special headers allow, or are for GPUs.
_WASM = [
    f"litert_wasm_{kind}.{suffix}"
    for kind in ("internal", "compat_internal")
    for suffix in ("js", "wasm")
]
_SOURCE_MAP = "//# sourceMappingURL="


def version():
    """The version that `package.json` names, on which the page was tested."""
    return json.loads(_shipped("package.json"))["dependencies"][CORE]


def _shipped(name):
    return importlib.resources.files(__name__).joinpath(name).read_text(encoding="utf-8")


def license_text():
    """The text of the Apache License 2.0."""
    return _shipped("LICENSE")


@contextlib.contextmanager
def package(path=None):
    """Gives the folder of the npm package `@litertjs/core`.

    Args:
        path: where it lies already (`…/node_modules/@litertjs/core`), its helper beside it; None
            has npm fetch it into a folder that is removed afterwards.

    Raises:
        ValueError: no npm, or npm failed; not that package, or another version.
    """
    if path is not None:
        yield _checked(Path(path))
        return
    with tempfile.TemporaryDirectory() as folder:
        for name in ("package.json", "package-lock.json"):
            Path(folder, name).write_text(_shipped(name), encoding="utf-8")
        _install(folder)
        yield _checked(Path(folder, "node_modules", CORE))


def _install(folder):
    npm = shutil.which("npm")
    if npm is None:
        raise ValueError(
            f"npm is needed to fetch {CORE} {version()} and was not found. Install Node.js, or "
            f"fetch the package elsewhere (npm install {CORE}@{version()}) and name its folder: "
            f"--litert=node_modules/{CORE}."
        )
    # The lock's checksums are what is trusted; nothing of a package is run.
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=NPM_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise ValueError(f"npm did not fetch {CORE} within {NPM_SECONDS} s.") from error
    if done.returncode:
        raise ValueError(
            f"npm could not fetch {CORE} {version()}: {done.stderr.strip()[-800:]}\nFetch the "
            "package elsewhere and name its folder with --litert."
        )


def _checked(folder):
    for name, place in ((CORE, folder), (HELPER, folder.parent / "wasm-utils")):
        try:
            facts = json.loads((place / "package.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ValueError(
                f"The npm package {name} must lie at {place}: {error}. --litert names the folder "
                f"node_modules/{CORE} of an installation by npm."
            ) from error
        found = tuple(facts.get(key) for key in ("name", "version", "license"))
        if found != (name, version(), LICENSE):
            raise ValueError(
                f"{place} must hold {name} {version()}, licence {LICENSE}, which the page was "
                f"tested with. Received: {' '.join(map(str, found))}."
            )
    return folder


def copy(core, target):
    """Copies what browsers need into a new folder.

    Args:
        core: folder as `package` gives it.
        target: folder to make.

    Raises:
        ValueError: files are missing, or not of the form known.
    """
    os.makedirs(target)
    try:
        for name in _WASM:
            shutil.copyfile(core / "wasm" / name, Path(target, name))
        library = _without_map(core / "dist" / "index.js")
        helper = _without_map(core.parent / "wasm-utils" / "dist" / "index.js")
    except OSError as error:
        raise ValueError(f"The npm package {CORE} is not whole: {error}.") from error
    if library.count(_IMPORT) != 1:
        raise ValueError(f"{core}: dist/index.js must import {HELPER} once.")
    # Browsers find files by path, not packages by name.
    library = library.replace(_IMPORT, f'from "./{_HELPER_FILE}"')
    Path(target, "index.js").write_text(library, encoding="utf-8")
    Path(target, _HELPER_FILE).write_text(helper, encoding="utf-8")


def _without_map(path):
    """A script that names no map of its sources, which would be missing."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines if not line.startswith(_SOURCE_MAP)) + "\n"


def notice():
    """What licences ask to be said where the files are passed on."""
    return f"""litert/ holds files of the npm packages {CORE} and {HELPER} {version()}
(https://www.npmjs.com/package/{CORE}), copyright Google LLC, Apache License 2.0 (LICENSE).
Changed: index.js imports {_HELPER_FILE} by its path; references to source maps were removed. The
WebAssembly is as published.
"""

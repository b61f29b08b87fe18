"""The package as it is installed, not as it is in the repository."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
RECIPE = REPOSITORY / "docker" / "Dockerfile"

CHECK = """
import pathlib, export, oasis_tf
from oasis_tf.cli import flagfiles
print(pathlib.Path(oasis_tf.__file__).parent)
print(pathlib.Path(export.__file__).parent)
print(*flagfiles.shipped_configs())
"""


def run(*arguments, cwd):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    return subprocess.run(
        list(map(str, arguments)), cwd=cwd, env=environment, capture_output=True, text=True
    )


@pytest.fixture
def python(tmp_path):
    """A new virtual environment with the packages of this one, except oasis_tf."""
    run(sys.executable, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    # Appended after the environment's own packages, without editable installs of this one.
    paths = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (tmp_path / "venv" / "lib" / version / "site-packages" / "dependencies.pth").write_text(
        "\n".join(sorted(paths))
    )
    return python


@pytest.fixture
def source(tmp_path):
    """A copy of what the container is made from. A build leaves no files in the repository."""
    source = tmp_path / "source"
    source.mkdir()
    for name in copied_into_the_container():
        if (REPOSITORY / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(REPOSITORY / name, source / name, ignore=ignored)
        else:
            shutil.copy(REPOSITORY / name, source)
    return source


def test_the_recipe_of_the_container_fits_the_project():
    """It may copy what it copies, and its extras exist. `.ci/run` lints it."""
    kept = (REPOSITORY / ".dockerignore").read_text().splitlines()
    assert {line[1:] for line in kept if line.startswith("!")} == set(copied_into_the_container())
    (extras,) = re.findall(r"^ARG EXTRAS=(.*)$", RECIPE.read_text(), re.MULTILINE)
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert "gpu" in extras.split(",") and set(extras.split(",")) <= set(
        project["optional-dependencies"]
    )
    (command,) = re.findall(r'^ENTRYPOINT \["(.*)"\]$', RECIPE.read_text(), re.MULTILINE)
    assert command in project["scripts"]


def copied_into_the_container():
    """Files and folders that the container is made from: all that an installation needs."""
    lines = RECIPE.read_text().splitlines()
    return [name for line in lines if line.startswith("COPY ") for name in line.split()[1:-1]]


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["wheel", "editable"])
def test_installed_outside_the_repository(python, source, tmp_path, mode):
    target = ["-e", source] if mode == "editable" else [source]
    install = run(python, "-m", "pip", "install", "--no-deps", "-q", *target, cwd=tmp_path)
    assert install.returncode == 0, install.stderr

    done = run(python, "-c", CHECK, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    package, export, configs = done.stdout.splitlines()
    home = source if mode == "editable" else tmp_path / "venv"
    assert Path(package).is_relative_to(home) and Path(export).is_relative_to(home)
    assert set(configs.split()) == shipped()

    train = [python, "-m", "oasis_tf.train", "--flagfile=ade.flags"]
    done = run(*train, "--data_dir=absent", "--model_dir=model", cwd=tmp_path)
    assert done.returncode == 1 and "absent is not a prepared data set" in done.stderr
    script = tmp_path / "venv" / "bin" / "oasis-tf"
    done = run(script, "export-savedmodel", "--help", cwd=tmp_path)
    assert done.returncode == 0 and "--model_dir" in done.stdout
    done = run(script, "train", "--flagfile=ade.flags", "--data_dir=absent", cwd=tmp_path)
    assert done.returncode == 1 and "`model_dir` must be given" in done.stderr


@pytest.mark.slow
def test_the_wheel_holds_every_file_of_the_packages(python, source, tmp_path):
    """Exactly the files of the packages that git does not ignore are installed."""
    install = run(python, "-m", "pip", "install", "--no-deps", "-q", source, cwd=tmp_path)
    assert install.returncode == 0, install.stderr
    (site,) = tmp_path.glob("venv/lib/*/site-packages")
    assert files_below(site / "oasis_tf") == (
        files_below(REPOSITORY / "oasis_tf") | {f"configs/{name}" for name in shipped()}
    )
    assert files_below(site / "export") == files_below(REPOSITORY / "export")


def shipped():
    """Returns the flagfiles of the repository, by path in their folder."""
    folder = REPOSITORY / "configs"
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*.flags")}


def files_below(folder):
    files = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    return {str(file) for file in files if "__pycache__" not in file.parts}

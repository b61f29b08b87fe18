"""Public names can still be imported from their former places."""

import importlib
import subprocess
import sys

import pytest

import oasis_tf


def test_public_names():
    from oasis_tf.models import Discriminator, Generator

    from oasis_tf import convert, editing, models
    from oasis_tf.convert import load_official, to_official

    assert (models.Generator, models.Discriminator) == (Generator, Discriminator)
    assert (convert.load_official, convert.to_official) == (load_official, to_official)
    assert oasis_tf.OASIS.__name__ == "OASIS" and callable(oasis_tf.load)
    assert editing.NoiseField and oasis_tf.editing is editing
    assert oasis_tf.images.image_grid and importlib.import_module("oasis_tf.images").to_uint8


@pytest.mark.parametrize("name", ["models", "models.generator", "editing"])
def test_a_former_name_is_the_module_at_its_present_place(name):
    former = importlib.import_module(f"oasis_tf.{name}")
    present = importlib.import_module(f"oasis_tf.systems.oasis.{name}")
    assert former is present
    assert present.__name__ == present.__spec__.name == f"oasis_tf.systems.oasis.{name}"


def test_in_a_new_process():
    code = (
        "import oasis_tf.models.generator as former\n"
        "from oasis_tf.systems.oasis.models import Generator\n"
        "assert former.Generator is Generator\n"
        "import oasis_tf; print(oasis_tf.models.Generator is Generator)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


def test_other_names_are_not_found():
    with pytest.raises(ModuleNotFoundError, match="oasis_tf.modles"):
        importlib.import_module("oasis_tf.modles")
    with pytest.raises(ModuleNotFoundError, match="modles"):
        importlib.import_module("oasis_tf.models.modles")
    with pytest.raises(AttributeError, match="no attribute 'modles'"):
        _ = oasis_tf.modles

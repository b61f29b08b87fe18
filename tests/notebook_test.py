"""The notebook of the first hour runs from its first cell to its last."""

import os
from pathlib import Path

import nbclient
import nbformat
import pytest

import oasis_tf

SOURCE = Path(oasis_tf.__file__).resolve().parents[1]
NOTEBOOK = Path(__file__).parents[1] / "docs" / "first_hour.ipynb"
TINY = (
    "--generator_channels=1 --generator_widths=2,2,1 --discriminator_channels=1 "
    "--discriminator_widths=2,2 --spade_channels=4 --noise_channels=2 --statistics_batches=2"
)


def test_the_notebook_is_stored_without_outputs():
    notebook = nbformat.read(NOTEBOOK, nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    assert not any(cell.get("outputs") for cell in notebook.cells)


@pytest.mark.slow
def test_the_notebook_runs(tmp_path, monkeypatch):
    for name, value in (("STEPS", "2"), ("SCENES", "6"), ("FLAGS", TINY)):
        monkeypatch.setenv(f"FIRST_HOUR_{name}", value)
    monkeypatch.setenv("PYTHONPATH", str(SOURCE))
    notebook = nbformat.read(NOTEBOOK, nbformat.NO_CONVERT)
    where = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3", resources=where).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    text = "".join(output.get("text", "") for output in outputs)
    assert "8 val" in text and "Done: 2 steps" in text and "Resampled: " in text
    assert "of the pixels" in text and "ERROR" not in text
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == 7
    assert sorted(os.listdir(tmp_path)) == ["data", "model"]

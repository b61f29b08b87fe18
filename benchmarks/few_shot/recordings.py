"""What a recording of StyleGAN2 or BigGAN and its adaptation is: its settings and its entries.

Layouts are PyTorch's. `tests/golden/README.md` says what the entries hold.
"""

from pathlib import Path

from benchmarks import golden_files

GOLDEN = Path(__file__).resolve().parents[2] / "tests" / "golden"


class Recording(dict):
    """Arrays by name; one that is missing is an error of the file."""

    def __missing__(self, name):
        raise ValueError(
            f"A recording must hold the entries that tests/golden/README.md lists. Missing: {name}."
        )


def load(path):
    """A `Recording` from its file; see `golden_files.load`."""
    return Recording(golden_files.load(path, "a recording of StyleGAN2 or BigGAN"))

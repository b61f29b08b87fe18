"""What a recording of a PyTorch OASIS is: its settings, its parts, its file.

`tests/golden/README.md` lists the entries.
"""

import ast
import dataclasses
from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).resolve().parents[2] / "tests" / "golden" / "oasis_square.npz"
STEPS = 3
HISTORY = ("loss_g", "loss_d_fake", "loss_d_real", "loss_labelmix", "loss_d")
HISTORY_ENTRY = "history_G_Dfake_Dreal_labelmix_D"
_MAY_BE_ZERO = ("has_unknown", "noise_channels", "seed")
_META = {
    "num_classes": "nc",
    "noise_channels": "z",
    "channels": "ch",
    "discriminator_channels": "dch",
    "height": "H",
    "width": "W",
    "batch_size": "batch",
    "ema_decay": "ema",
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a recording is made with, as its entry ``meta`` says.

    Raises:
        ValueError: sizes not divisible by 64, or numbers too small.
    """

    num_classes: int = 6
    has_unknown: bool = True
    noise_channels: int = 8
    channels: int = 2
    discriminator_channels: int = 4
    height: int = 64
    width: int = 64
    batch_size: int = 2
    seed: int = 0
    lr_g: float = 1e-4
    lr_d: float = 4e-4
    ema_decay: float = 0.9
    lambda_labelmix: float = 10.0
    dtype: str = "float64"

    def __post_init__(self):
        for name, value in dataclasses.asdict(self).items():
            least = 1 if isinstance(value, int) and name not in _MAY_BE_ZERO else 0
            if name != "dtype" and value < least:
                raise ValueError(f"`{name}` must be at least {least}. Received: {value}.")
        if self.height % 64 or self.width % 64:
            raise ValueError(
                f"`height` and `width` must be multiples of 64. Received: {self.height}, "
                f"{self.width}."
            )

    @classmethod
    def of(cls, recording):
        """The settings of a recording; the official one's does not state all."""
        meta = {"has_unknown": True, "dtype": "float32"} | ast.literal_eval(str(recording["meta"]))
        names = [field.name for field in dataclasses.fields(cls)]
        return cls(**{name: meta[_META.get(name, name)] for name in names})

    def to_meta(self):
        """The entry ``meta`` of a recording: a dict as text."""
        meta = {_META.get(name, name): value for name, value in dataclasses.asdict(self).items()}
        return np.array(str({"ref": "benchmarks/oasis/pytorch_peer.py", "steps": STEPS} | meta))

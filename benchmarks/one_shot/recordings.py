"""What a recording of a PyTorch SIV-GAN or OSMIS is: its settings, its parts, its decisions.

Layouts are PyTorch's. `tests/golden/README.md` says what the entries hold.
"""

from pathlib import Path

import numpy as np

from benchmarks import golden_files
from oasis_tf.systems.one_shot.config import Config, DataConfig, ModelConfig, TrainingConfig
from oasis_tf.systems.one_shot.source import Source

GOLDEN = Path(__file__).resolve().parents[2] / "tests" / "golden"


def load(path):
    """A recording from its file; see `golden_files.load`."""
    wanted = ("meta", "image", "z", "history")
    return golden_files.load(path, "a recording of SIV-GAN or OSMIS", wanted)


def config_of(recording):
    """The `Config` of a recording."""
    m = golden_files.meta(recording)
    grid_height, grid_width = m["noise_shape"]
    return Config(
        model=ModelConfig(
            grid_height=grid_height,
            grid_width=grid_width,
            blocks_g=m["g"],
            blocks_d=m["n"],
            blocks_d0=m["n_ll"],
            num_classes=m["classes"],
            ch_g=m["ch_g"],
            ch_d=m["ch_d"],
            noise_dim=m["z"],
        ),
        data=DataConfig(),
        training=TrainingConfig(
            steps=m["steps"],
            batch_size=m["batch"],
            lr_g=m["lr"],
            lr_d=m["lr"],
            beta_1=m["beta1"],
            beta_2=m["beta2"],
            ema_decay=m["ema"],
            lambda_dr=m["lambda_DR"],
            augmentation="none",
            prob_fa_con=0.0,
            prob_fa_lay=0.0,
        ),
        source=Source(1, m["height"], m["width"], m["classes"]),
    )


def one_hot(label, num_classes):
    """Label maps as channels, float32 [..., N]."""
    return np.eye(num_classes, dtype=np.float32)[label]


# === Decisions on layout features ===


def sources(decisions, shape, mask=None):
    """The map of sources int32 [B, h, w] that recorded decisions amount to.

    Args:
        decisions: rectangles [pairs, 4], or rows of operations [K, 10] (``meta`` explains them).
        shape: (B, h, w).
        mask: [B, h, w, N] for operations.
    """
    state = np.arange(np.prod(shape), dtype=np.int32).reshape(shape)
    if decisions.shape[1] == 4:
        for pair, (x1, x2, y1, y2) in enumerate(decisions):
            if x1 >= 0:
                _swap(state, 2 * pair, x1, x2, y1, y2)
        return state
    for kind, *row in decisions:
        if kind >= 0:
            _OPERATIONS[kind](state, *row[: _ARGUMENTS[kind]], **_with(mask, kind))
    return state


def _with(mask, kind):
    return {"mask": mask} if kind in (3, 4) else {}


def _copy_background(state, image, x1, x2, y1, y2, a1, a2, b1, b2):
    state[image, x1:x2, y1:y2] = state[image, a1:a2, b1:b2].copy()


def _swap(state, image, x1, x2, y1, y2):
    pair = state[image : image + 2, x1:x2, y1:y2]
    pair[:] = pair[::-1].copy()


def _paste(state, image, number, mask):
    area = _area(state, image, number, mask)
    state[image + 1][area] = state[image][area]


def _duplicate(state, image, number, dx, dy, *_, mask):
    rows, columns = np.nonzero(_area(state, image, number, mask))
    state[image, rows + dx, columns + dy] = state[image, rows, columns].copy()


def _remove(state, image, _, dx, dy, x1, x2, y1, y2):
    there = state[image, x1 + dx : x2 + dx + 1, y1 + dy : y2 + dy + 1].copy()
    state[image, x1 : x2 + 1, y1 : y2 + 1] = there


def _area(state, image, number, mask):
    return mask.reshape(-1, mask.shape[-1])[state[image]].argmax(-1) == number


_OPERATIONS = {1: _copy_background, 2: _swap, 3: _paste, 4: _duplicate, 5: _remove}
_ARGUMENTS = {1: 9, 2: 5, 3: 2, 4: 8, 5: 8}

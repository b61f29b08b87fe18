"""Folders of pictures, and small models as `train` leaves them."""

import numpy as np
import pytest
from PIL import Image

SIZE = 32
NETWORKS = {
    "stylegan2": {"channels": (6, 6, 6, 4), "style_dim": 8, "num_mlp": 2},
    "biggan": {"ch": 2, "dim_z": 8, "shared_dim": 4, "attention": (16,), "attention_d": (16,)},
}


def write_pictures(folder, count, seed=0):
    """Writes pictures of drawn blocks of colours into a folder, `0.png`, `1.png`, …"""
    folder.mkdir(parents=True)
    blocks = np.random.default_rng(seed).integers(0, 256, (count, 4, 5, 3), np.uint8)
    for k, colours in enumerate(blocks):
        large = Image.fromarray(colours).resize((45, 36), Image.Resampling.NEAREST)
        large.save(folder / f"{seed}_{k}.png")


def write_model(path, data_dir, network="stylegan2", adapted=True, **adaptation):
    """A model directory of images of 32x32 with drawn weights; its path, str.

    Args:
        path: folder to make.
        data_dir: of the training pictures; of BigGAN that is not adapted, with folders of classes.
        network: "stylegan2" or "biggan".
        adapted: bool.
        adaptation: settings of the adaptation.
    """
    from oasis_tf.systems.few_shot import source, training_settings
    from oasis_tf.systems.few_shot.build import build_model
    from oasis_tf.systems.few_shot.config import (
        AdaptationConfig,
        Config,
        DataConfig,
        ModelConfig,
        TrainingConfig,
    )
    from oasis_tf.training.store import CheckpointStore

    data = DataConfig(data_dir=str(data_dir))
    pictures = source.inspect(data, network == "biggan" and not adapted)
    classes = {"num_classes": 3, "projection": not adapted} if network == "biggan" else {}
    config = Config(
        model=ModelConfig(network=network, size=SIZE, **NETWORKS[network], **classes),
        data=data,
        training=TrainingConfig(steps=1, **training_settings.defaults(network, adapted)),
        adaptation=AdaptationConfig(source="SOURCE" if adapted else None, **adaptation),
        pictures=pictures,
    )
    config.save(str(path))
    state = {name: v.numpy() for name, v in build_model(config).variables().items()}
    rng = np.random.default_rng(0)
    for name, array in state.items():  # what begins at zero is lively, and the average another one
        if name.startswith("generator_ema/") and array.dtype == np.float32:
            changed = array + 0.3 * rng.standard_normal(array.shape)
            state[name] = np.abs(changed).astype(np.float32) if "variance" in name else changed
    CheckpointStore(str(path)).save(7, state | {"step": np.int64(7)}, {})
    return str(path)


@pytest.fixture(scope="session")
def few_pictures(tmp_path_factory):
    """Path of a folder with five training pictures."""
    path = tmp_path_factory.mktemp("few") / "train"
    write_pictures(path, 5)
    return path


@pytest.fixture(scope="session")
def adapted_dir(tmp_path_factory, few_pictures):
    """Path of an adapted StyleGAN2 with a head for every block."""
    path = tmp_path_factory.mktemp("adapted") / "model"
    return write_model(path, few_pictures, d_loss="all")


@pytest.fixture(scope="session")
def adapted(adapted_dir):
    """That model, for use."""
    import oasis_tf

    return oasis_tf.load(adapted_dir)

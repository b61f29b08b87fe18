"""Trains choices of parts on one device and on two replicas, and compares them in float64.

    python variants_main.py

A process of its own, because TensorFlow can split its CPU into devices only before it starts.
Prints a line for every choice, or raises AssertionError.
"""

import keras
import numpy as np
import tensorflow as tf

from oasis_tf import OASIS
from oasis_tf.data.datasets import published_label_space
from oasis_tf.systems.oasis import parts, run_settings
from oasis_tf.systems.oasis.build import state_variables
from oasis_tf.systems.oasis.models.augmentation import Augmentation
from oasis_tf.training.strategies import distribute

STEPS, BATCH, SIDE = 2, 4, 16
TINY = {
    "data_dir": "nowhere",
    "crop_height": SIDE,
    "crop_width": SIDE,
    "steps": STEPS,
    "generator_channels": 1,
    "discriminator_channels": 2,
    "spade_channels": 4,
    "noise_channels": 3,
    "encoder_channels": 2,
    "encoder_size": 8,
    "generator_widths": (2, 2, 1),
    "discriminator_widths": (2, 2),
}
VARIANTS = {
    "hinge, feature matching, KL divergence, noise by region": {
        "discriminator": "ms_patch",
        "lambda_feature_matching": 10.0,
        "encoder": "beside_noise",
        "noise": "region",
    },
    "binary, CutMix, noise by pixel, latents": {
        "label_encoding": "projection",
        "consistency": "cutmix",
        "encoder": "beside_noise",
        "noise": "pixel",
    },
    "two scales, LabelMix by image, mixed noise": {
        "discriminator": "oasis_x2",
        "discriminator_widths": (2,),
        "labelmix_bits": "image",
        "encoder": "beside_noise",
        "noise": "mix",
    },
    "adaptive augmentation, warm-up of the average": {
        "augmentation": "full",
        "adaptive_augm": True,
        "augm_target": -0.9,  # p rises
        "augm_images": 2 * BATCH,
        "ema_warmup": True,
        "encoder": "beside_noise",
    },
}


def make_model(config):
    common = {"dtype": "float64"}
    model = OASIS(
        parts.make_generator(config, **common),
        parts.make_discriminator(config, **common),
        has_unknown=False,
        ema_decay=0.5,
        ema_warmup=config.training.ema_warmup,
        augmentation=Augmentation.of(config.training),
        seed=3,
        objective=parts.make_objective(config.model),
        encoder=parts.make_encoder(config, **common),
        noise=config.model.noise,
        consistency=config.training.consistency,
        labelmix_bits=config.training.labelmix_bits,
        lambda_feature_matching=config.training.lambda_feature_matching,
        lambda_kld=config.training.lambda_kld,
        name="oasis",
        **common,
    )
    rng = np.random.default_rng(0)
    for network in (model.generator, model.discriminator, model.encoder):
        for variable in network.variables:
            value = rng.normal(0, 0.3, variable.shape)
            variable.assign(abs(value) + 0.1 if variable.name == "moving_variance" else value)
    for name in ("generator", "encoder"):
        getattr(model, f"{name}_ema").set_weights(getattr(model, name).get_weights())
    # Plain descent: where true gradients are 0, rounding stays rounding.
    model.compile(*(keras.optimizers.SGD(1e-2, name=f"{name}_optimizer") for name in "gd"))
    return model


def batches(rows):
    """Global batches whose rows have other classes."""
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (STEPS, BATCH, SIDE, SIDE, 3)).astype(np.uint8)
    label_map = rng.integers(0, 6, (STEPS, BATCH, SIDE, SIDE)).astype(np.uint8)
    label_map[:, BATCH // 2 :] += 5
    return tf.data.Dataset.from_tensor_slices((image[:, slice(*rows)], label_map[:, slice(*rows)]))


def train(strategy, config):
    """Losses of every step and the state after the last, by name."""
    with strategy.scope():
        model = make_model(config)

    @tf.function(autograph=False)
    def step(batch):
        logs = strategy.run(model.train_step, args=(batch,))
        return {k: strategy.experimental_local_results(v)[0] for k, v in logs.items()}

    found = {}
    for index, batch in enumerate(distribute(strategy, BATCH, batches)):
        found |= {f"log/{index}/{k}": v.numpy() for k, v in step(batch).items()}
    return found | {k: v.numpy() for k, v in state_variables(model).items()}


def main():
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, 2 * [tf.config.LogicalDeviceConfiguration()])
    space = published_label_space("shapes")
    # One for all: every strategy starts its collective keys from the first, and they clash.
    replicas = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    for name, settings in VARIANTS.items():
        config = run_settings.resolve(TINY | settings, label_space=space, num_examples=8)
        one = train(tf.distribute.get_strategy(), config)
        many = train(replicas, config)
        assert set(one) == set(many) and len(one) > 100
        for key, value in one.items():
            difference = np.linalg.norm(many[key] - value)
            assert difference <= 1e-9 * np.linalg.norm(value) + 1e-15, (name, key, difference)
        print(f"{name}: {len(one)} values", flush=True)


if __name__ == "__main__":
    main()

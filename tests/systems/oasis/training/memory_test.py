"""The memory estimate: grows with what costs memory, and is honest about the weights."""

import dataclasses
import re
from pathlib import Path

import pytest

from oasis_tf.data.datasets import published_label_space
from oasis_tf.systems.oasis import memory
from oasis_tf.systems.oasis.build import build_model
from oasis_tf.systems.oasis.config import Config, DataConfig, ModelConfig, TrainingConfig
from oasis_tf.systems.oasis.task import describe

PARAMETERS = (1000, 500)
FULL_WIDTH = (74_314_691, 22_258_904)  # of 151 classes
PAGE = Path(__file__).resolve().parents[4] / "docs" / "gpu.md"


def with_model(config, **settings):
    return dataclasses.replace(config, model=dataclasses.replace(config.model, **settings))


@pytest.fixture
def config(make_config):
    return make_config()


def test_grows_with_batch_and_size(config, changed):
    data = dataclasses.replace(
        config.data, crop_height=64, resize_height=64, crop_width=32, resize_width=32
    )
    larger = [
        changed(config, batch_size=3),
        dataclasses.replace(config, data=data),
        with_model(config, discriminator_channels=2),
    ]
    base = memory.step_bytes(config, PARAMETERS)
    for other in larger:
        assert memory.step_bytes(other, PARAMETERS) > base
    wider = with_model(config, generator_channels=2)
    assert memory.generator_activations(wider) > memory.generator_activations(config)
    activations = base - memory.fixed_bytes(*PARAMETERS)
    doubled = memory.step_bytes(changed(config, batch_size=4), PARAMETERS)
    assert doubled == base + activations


def with_classes(config, count):
    space = dataclasses.replace(
        config.label_space,
        class_names=tuple(map(str, range(count))),
        palette=((0, 0, 0),) * count,
        raw_ids=tuple(range(count)),
    )
    model = dataclasses.replace(config.model, num_classes=count)
    return dataclasses.replace(config, model=model, label_space=space)


def test_classes_cost_logits_alone(config):
    many = with_classes(config, 100)
    assert memory.generator_activations(many) == memory.generator_activations(config)
    more = memory.discriminator_activations(many) - memory.discriminator_activations(config)
    assert more == 32 * 32 * 3 * (100 - 12)


def test_chunked_logits_cost_the_same_for_all_classes(config, changed):
    few = changed(config, chunk_logits=True)
    assert memory.step_bytes(few, PARAMETERS) < memory.step_bytes(config, PARAMETERS)
    images = []
    for batch in (1, 2):
        one = changed(few, batch_size=batch)
        many = memory.step_bytes(with_classes(one, 100), PARAMETERS)
        images.append(many - memory.step_bytes(one, PARAMETERS))
    assert images[0] == images[1] > 0  # the logits of a chunk, whatever the batch


def test_precision_and_labelmix(config, changed):
    base = memory.step_bytes(config, PARAMETERS)
    fixed = memory.fixed_bytes(*PARAMETERS)
    half = memory.step_bytes(changed(config, mixed_precision="bfloat16"), PARAMETERS)
    assert half - fixed == (base - fixed) / 2
    assert (
        memory.step_bytes(changed(config, lambda_labelmix=0.0, consistency=None), PARAMETERS)
        <= base
    )
    assert memory.step_bytes(changed(config, remat=True), PARAMETERS) < base


def test_description_has_counts_configuration_and_estimate(config):
    text = describe(config)
    model = build_model(config)
    for network in (model.generator, model.discriminator):
        count = sum(v.numpy().size for v in network.trainable_variables)
        assert f"{network.name}: {count:,} trainable parameters" in text
    assert '"batch_size": 2' in text
    assert "memory: about 0." in text and "for a batch of 2 on one device" in text


def test_other_losses_have_their_weights_counted_alone(config, changed):
    other = changed(config, lambda_feature_matching=1.0)
    assert memory.step_bytes(other, PARAMETERS) == memory.fixed_bytes(*PARAMETERS)
    counts = {"generator": 2**28, "discriminator": 2**28}
    text = memory.describe(changed(other, batch_size=7), counts)
    # 800 MiB, and 1.8 times 7 numbers of 4 bytes for each of the parameters.
    assert text.startswith(f"memory: about {800 / 1024 + 1.8 * 7:.2f} GiB whatever the batch, and")
    assert "estimated for the parts and losses of OASIS alone" in text


def test_the_table_of_what_fits_is_that_of_the_estimate():
    """A row: crop and classes, precision, GiB for batches, the largest batch of each card."""
    rows = [line.strip("|").split("|") for line in PAGE.read_text().splitlines()]
    rows = [[cell.strip() for cell in row] for row in rows if len(row) == 8]
    batches, cards = (re.findall(r"\d+", " ".join(cells)) for cells in (rows[0][2:5], rows[0][5:]))
    assert len(rows) == 2 + 3 * 4
    crop, wrong = None, []
    for crop_cell, precision, *printed in rows[2:]:
        crop = [int(number) for number in re.findall(r"\d+", crop_cell)] or crop
        need = [_bytes(*crop, precision, int(batch)) for batch in batches]
        fitting = [_largest(*crop, precision, 0.95 * int(card) * 2**30) for card in cards]
        expected = [f"{size / 2**30:.1f}" for size in need] + [str(count) for count in fitting]
        wrong += [] if printed == expected else [(crop, precision, expected)]
    assert not wrong


def _bytes(height, width, classes, precision, batch_size):
    space = published_label_space({151: "ade20k", 35: "cityscapes"}[classes])
    model = ModelConfig(num_classes=classes, has_unknown=space.has_unknown)
    training = TrainingConfig(
        steps=1,
        batch_size=batch_size,
        mixed_precision="bfloat16" if "bfloat16" in precision else "none",
        modulation="dense",  # as on a GPU
        remat="--remat" in precision,
    )
    data = DataConfig(crop_height=height, crop_width=width)
    config = Config(model=model, data=data, training=training, label_space=space)
    return memory.step_bytes(config, FULL_WIDTH)


def _largest(height, width, classes, precision, limit):
    one, two = (_bytes(height, width, classes, precision, count) for count in (1, 2))
    return int((limit - one) / (two - one)) + 1

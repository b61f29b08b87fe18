"""OASIS for metrics: what its models can be measured by, and their images in an evaluation."""

import dataclasses

import keras
import numpy as np
import pytest

from oasis_tf.data.datasets import folder_label_space
from oasis_tf.io.images import to_uint8
from oasis_tf.metrics import evaluation as metrics
from oasis_tf.metrics.diversity import evaluators
from oasis_tf.metrics.evaluator import EvaluationContext, padded_batches
from oasis_tf.metrics.settings import EvaluationConfig
from oasis_tf.systems.oasis import evaluation
from oasis_tf.systems.oasis.config import Config, DataConfig, ModelConfig, TrainingConfig
from oasis_tf.systems.oasis.inference.multi_device import DeviceSampler
from oasis_tf.systems.oasis.models import Generator
from oasis_tf.systems.oasis.models.oasis import OASIS

SPACE = folder_label_space(3)
STEM = {"encoder": "stem", "noise": "none", "latent_channels": 2}


def capabilities(**settings):
    return evaluation.capabilities(
        Config(
            model=ModelConfig(num_classes=3, has_unknown=False, **settings),
            data=DataConfig(data_dir="somewhere", crop_height=64, crop_width=128),
            training=TrainingConfig(steps=1),
            label_space=SPACE,
        )
    )


def check(name, **settings):
    metrics.check([name], EvaluationConfig(), capabilities(**settings))


# === Which metrics ===


def test_a_whole_model_has_every_metric():
    for name in set(metrics.METRICS) - {"lvis"}:
        check(name)
    assert capabilities().label_space == SPACE


@pytest.mark.parametrize(
    "settings", [{"discriminator": "ms_patch"}, {"label_encoding": "concat"}], ids=str
)
def test_a_discriminator_that_does_not_segment(settings):
    for name in ("fid", "alignment", "diversity", "class_diversity", "colour"):
        check(name, **settings)
    message = "The metric segmentation .* its discriminator tells real from fake and does not segm"
    with pytest.raises(ValueError, match=message):
        check("segmentation", **settings)


def test_a_model_without_discriminator():
    check("alignment", has_discriminator=False)
    with pytest.raises(ValueError, match="The metric segmentation .* it has no discriminator"):
        check("segmentation", has_discriminator=False)


@pytest.mark.parametrize("name", ["diversity", "class_diversity"])
def test_a_model_without_noise(name):
    message = f"The metric {name} compares.* noise.*noise_channels=0.*Leave it out"
    with pytest.raises(ValueError, match=message):
        check(name, noise_channels=0)


def test_a_latent_stem():
    check("diversity", **STEM)
    with pytest.raises(ValueError, match="class_diversity compares .*one vector .*encoder=stem"):
        check("class_diversity", **STEM)


# === Images ===


@pytest.fixture(scope="module")
def model():
    """An OASIS of random weights, small but sensitive to its noise."""
    keras.utils.set_random_seed(0)
    generator = Generator(4, 3, 2, 6, widths=(2, 2))
    for variable in generator.trainable_variables:
        variable.assign(variable * 2)
    return OASIS(generator, None, has_unknown=True)


@pytest.fixture
def context(model, monkeypatch, tmp_path):
    """Of four classes, the first of them unknown."""
    monkeypatch.setattr(EvaluationContext, "num_images", 1)
    space = folder_label_space(4, unknown_label=0, class_names=["red", "green", "blue"])
    dataset = dataclasses.make_dataclass("Dataset", ["label_space"])(space)
    return EvaluationContext(
        dataset=dataset,
        model_dir=str(tmp_path),
        height=64,
        width=64,
        sampler=DeviceSampler(model),
        label_space=space,
        batch_size=4,
        settings=EvaluationConfig(diversity_samples=4),
    )


def check_samples(got, model, label_map, noise):
    """Compares samples [S,H,W,3] with those of the plain generator; 8-bit values may round."""
    wanted = model.generator_ema(np.stack([label_map] * len(got)), noise).numpy()
    np.testing.assert_allclose(got.astype(int), to_uint8(wanted), atol=1)
    assert len({image.tobytes() for image in got}) == len(got)


STRIPES = np.tile(np.repeat(np.arange(4), 16), (64, 1)).astype(np.int32)


def samples_of(name, context):
    """What an evaluator compares for `STRIPES`, seed 5: a list of uint8 [S,H,W,3]."""
    one, seen = metrics.evaluator_class(name)(context), []
    one._compare = lambda samples: seen.append(samples) or (0.0, 0.0)
    image = np.zeros((1, 64, 64, 3), np.uint8)
    (batch,) = padded_batches([(image, STRIPES[None])], context.sampler, 1, seed=5)
    one.update(batch)
    return seen


def test_samples_are_the_generators(context, model):
    vectors = model.sample_noise([5 + j * 2**32 for j in range(4)], 4).numpy()
    [got] = samples_of("diversity", context)
    check_samples(got, model, STRIPES, vectors)


def test_samples_of_a_class_are_the_generators_with_local_noise(context, model):
    vectors = model.sample_noise([5 + j * 2**32 for j in range(4)], 4).numpy()
    by_class = samples_of("class_diversity", context)
    assert len(by_class) == 3
    for k, got in enumerate(by_class, start=1):
        mask = np.equal(STRIPES, k)
        noise = np.stack([np.where(mask[..., None], v, vectors[0]) for v in vectors])
        check_samples(got, model, STRIPES, noise)
        inside, outside = evaluators.mean_change(got, mask), evaluators.mean_change(got, ~mask)
        assert inside > 2 * outside > 0


# === Contexts ===


def test_the_context_of_a_model_directory(write_model, write_shapes):
    from oasis_tf.data.tfrecord import PreparedDataset

    dataset = PreparedDataset.load(write_shapes(1, 2))
    model_dir = write_model(generator_channels=1, discriminator_channels=1, spade_channels=4)
    context = evaluation.context(model_dir, dataset=dataset, batch_size=2, skip_corrupt=True)
    assert (context.height, context.width, context.step, context.batch_size) == (64, 64, 2, 2)
    assert context.skip_corrupt and context.dataset is dataset and context.model_dir == model_dir
    model = OASIS.load(model_dir)
    assert context.label_space == model.label_space == dataset.label_space
    label_map = np.zeros((2, 64, 64), np.int32)
    image = context.sampler(label_map, np.arange(2))
    np.testing.assert_array_equal(image, model.generate(label_map, np.arange(2)))
    np.testing.assert_array_equal(context.segment(to_uint8(image)), model.segment(to_uint8(image)))

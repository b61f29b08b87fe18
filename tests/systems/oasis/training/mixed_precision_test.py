"""Half precision: what must stay float32 does, and loss scaling recovers from overflow."""

import numpy as np
import pytest
import tensorflow as tf

from oasis_tf.data.pipeline import training_batches
from oasis_tf.layers import SpectralConv2D
from oasis_tf.systems.oasis import losses
from oasis_tf.systems.oasis.build import build_for_training

RESOLUTION = {"bfloat16": 2.0**-8, "float16": 2.0**-11}


@pytest.fixture(scope="module")
def batch(data_dir):
    stream = training_batches(data_dir, crop_height=32, crop_width=32, batch_size=2, seed=0)
    return next(iter(stream))


@pytest.mark.parametrize("precision", RESOLUTION)
@pytest.mark.parametrize("training", [False, True])
def test_normalised_kernels_are_exact_to_the_resolution_of_the_type(precision, training):
    layer = SpectralConv2D(24, 3, dtype=f"mixed_{precision}")
    layer.build((None, None, None, 40))
    rng = np.random.default_rng(0)
    kernel = rng.normal(0, 1e-3, layer.kernel.shape)  # as small as they start
    u, v = rng.normal(size=24), rng.normal(size=360)
    for variable, value in ((layer.kernel, kernel), (layer.u, u), (layer.v, v)):
        variable.assign(value)
    matrix = np.asarray(layer.kernel.numpy(), np.float64).reshape(-1, 24)
    u, v = (np.asarray(w.numpy(), np.float64) for w in (layer.u, layer.v))
    if training:
        v = matrix @ u / np.linalg.norm(matrix @ u)
        u = v @ matrix / np.linalg.norm(v @ matrix)
    want = (matrix / (v @ matrix @ u)).reshape(layer.kernel.shape)
    # A convolution of single ones reads the kernel out as the layer uses it.
    taps = np.eye(40)[:, None, None, :] * np.pad([[[1.0]]], ((0, 0), (1, 1), (1, 1)))[..., None]
    seen = layer(taps, training=training).numpy().astype(np.float64)
    got = seen[:, ::-1, ::-1].transpose(1, 2, 0, 3)
    # One rounding of the kernel, one of the output, which may be below the smallest normal number.
    np.testing.assert_allclose(got, want, rtol=RESOLUTION[precision], atol=2.0**-24)


@pytest.mark.parametrize("precision", RESOLUTION)
def test_losses_see_float32(make_config, changed, batch, monkeypatch, precision):
    model = build_for_training(changed(make_config(), mixed_precision=precision))
    seen = []

    def recording(name, right):
        def record(*args, **options):
            result = right(*args, **options)
            floats = [x for x in (*args, result) if hasattr(x, "dtype") and x.dtype.is_floating]
            seen.append((name, {x.dtype for x in floats}))
            return result

        return record

    for name in ("real_loss", "fake_loss", "labelmix_loss", "class_weights"):
        monkeypatch.setattr(losses, name, recording(name, getattr(losses, name)))
    model.train_step(batch)
    assert {name for name, _ in seen} == {
        "real_loss",
        "fake_loss",
        "labelmix_loss",
        "class_weights",
    }
    assert all(dtypes == {tf.float32} for _, dtypes in seen), seen
    assert {v.dtype for v in model.variables} == {"float32", "int64"}


@pytest.mark.slow
def test_loss_scaling_recovers_from_overflow(make_config, changed, batch):
    model = build_for_training(changed(make_config(), mixed_precision="float16"))
    optimizers = model.generator_optimizer, model.discriminator_optimizer
    for optimizer in optimizers:
        optimizer.dynamic_scale.assign(2.0**40)
    step = tf.function(model.train_step, autograph=False)
    before = [v.numpy() for v in model.trainable_variables]
    logs = step(batch)
    assert all(np.isfinite(value) for value in logs.values())
    # Nothing moves but the scale.
    for variable, value in zip(model.trainable_variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
    assert [float(o.dynamic_scale) for o in optimizers] == [2.0**39] * 2
    for _ in range(30):
        logs = step(batch)
    assert all(np.isfinite(value) for value in logs.values())
    for optimizer in optimizers:
        assert 1 <= float(optimizer.dynamic_scale) < 2.0**39
    for variable, value in zip(model.trainable_variables, before, strict=True):
        assert np.isfinite(variable.numpy()).all() and (variable.numpy() != value).any()

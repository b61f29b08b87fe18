"""A model from its configuration: the seed decides its weights, the precision its arithmetic."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from oasis_tf.data.pipeline import training_batches
from oasis_tf.systems.oasis.build import build_for_training, build_model, state_variables
from oasis_tf.training.named_weights import named_weights


@pytest.fixture(scope="module")
def batch(data_dir):
    stream = training_batches(data_dir, crop_height=32, crop_width=32, batch_size=2, seed=0)
    return next(iter(stream))


def test_the_seed_decides_the_weights(make_config, changed):
    config = make_config()
    first, again, other = (
        build_model(changed(config, seed=seed)).get_weights() for seed in (0, 0, 2**40 + 1)
    )
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert any((a != b).any() for a, b in zip(first, other, strict=True))


def test_settings_arrive(make_config, changed):
    config = changed(make_config(), lr_g=1e-3, lr_d=2e-3, beta_1=0.5, lambda_labelmix=3.0, seed=4)
    config = changed(config, modulation="dense")
    model = build_for_training(config)
    assert (model.seed, model.lambda_labelmix, model.ema_decay) == (4, 3.0, 0.5)
    assert not model.has_unknown and model.num_classes == 12
    rates = [
        float(o.learning_rate) for o in (model.generator_optimizer, model.discriminator_optimizer)
    ]
    np.testing.assert_allclose(rates, [1e-3, 2e-3], rtol=1e-6)
    assert model.generator_optimizer.beta_1 == 0.5
    assert model.generator.blocks[0].dense and not model.generator.blocks[0].one_hot
    assert model.generator.widths == (2, 2, 1) and model.discriminator.widths == (2, 2)


def test_init_gain_scales_kernels_and_nothing_else(make_config, changed):
    plain, wide = (
        named_weights(build_model(changed(make_config(), init_gain=gain)).generator)
        for gain in (0.02, 0.4)
    )
    for name, variable in plain.items():
        factor = 20 if name.endswith("kernel") else 1
        np.testing.assert_allclose(wide[name].numpy(), factor * variable.numpy(), rtol=1e-5)


@pytest.fixture(scope="module")
def exact(make_config, batch):
    """Losses of the first step in float32."""
    return build_for_training(make_config()).train_step(batch)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_mixed_precision_trains_close_to_float32(make_config, changed, batch, exact, precision):
    model = build_for_training(changed(make_config(), mixed_precision=precision))
    scaled = isinstance(model.generator_optimizer, keras.optimizers.LossScaleOptimizer)
    assert scaled == (precision == "float16")
    assert model.generator.compute_dtype == precision
    before = [v.numpy() for v in model.trainable_variables]
    logs = tf.function(model.train_step, autograph=False)(batch)
    for variable, value in zip(model.trainable_variables, before, strict=True):
        assert variable.dtype == "float32"
        assert np.isfinite(variable.numpy()).all() and (variable.numpy() != value).any()
    for name in ("loss_g", "loss_d_fake", "loss_d_real", "loss_d"):
        assert logs[name].dtype == tf.float32
        np.testing.assert_allclose(logs[name], exact[name], rtol=0.05)


@pytest.mark.slow
def test_xla_takes_the_same_step(make_config, changed, batch, exact):
    model = build_for_training(changed(make_config(), jit_compile=True))
    logs = tf.function(model.train_step, jit_compile=True, autograph=False)(batch)
    for name, value in exact.items():
        np.testing.assert_allclose(logs[name], value, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_activation_checkpointing_takes_the_same_step(make_config, changed, batch):
    """In single precision; `layers/remat_test.py` compares gradients in double."""
    models = [build_for_training(changed(make_config(), remat=remat)) for remat in (False, True)]
    logs = [tf.function(model.train_step, autograph=False)(batch) for model in models]
    for name, value in logs[0].items():
        np.testing.assert_allclose(logs[1][name], value, rtol=1e-6, err_msg=name)
    plain, again = (state_variables(model) for model in models)
    assert set(again) == set(plain)
    for name, variable in plain.items():
        want, got = variable.numpy(), again[name].numpy()
        bound = 1e-5 * np.abs(want).max() + 1e-12
        if name.startswith("generator") and name.endswith(("/bias", "_bias", "/moving_mean")):
            # In front of batch norms their gradients are rounding errors, whose sign Adam follows;
            # the means move along.
            bound = 2.1e-4
        assert np.abs(got - want).max() <= bound, name

"""Which way is chosen where. Nothing is computed here."""

import pytest
import tensorflow as tf

from oasis_tf.layers import by_device


@pytest.fixture(params=[False, True], ids=["cpu", "gpu"])
def gpu(request, monkeypatch):
    """Whether there seems to be a GPU."""
    visible = lambda kind: ["GPU:0"] if request.param and kind == "GPU" else []  # noqa: E731
    monkeypatch.setattr(tf.config, "get_visible_devices", visible)
    return request.param


@pytest.mark.parametrize(
    ("modulation", "jit_compile", "on_cpu", "on_gpu"),
    [
        ("auto", False, False, True),
        ("auto", True, True, True),
        ("shared", False, False, False),
        ("dense", False, True, True),
        ("dense", True, True, True),
    ],
)
def test_modulation(gpu, modulation, jit_compile, on_cpu, on_gpu):
    setting = by_device.dense_setting(modulation, jit_compile)
    assert by_device.is_dense(setting) == (on_gpu if gpu else on_cpu)


def test_labels(gpu):
    most = by_device.MOST_ONE_HOT_CLASSES
    assert by_device.is_one_hot(most, dense=True) == gpu
    assert not by_device.is_one_hot(most + 1, dense=True)
    assert not by_device.is_one_hot(most, dense=False)
    assert by_device.is_one_hot(most + 1, dense=False, one_hot=True)


def test_batches(gpu):
    assert by_device.batching() == ("dense" if gpu else "image")
    assert by_device.batching("image") == "image" and by_device.batching("dense") == "dense"
    with pytest.raises(ValueError, match="must be image or dense. Received: batching='shared'"):
        by_device.batching("shared")


def test_other_backends_choose_for_themselves(gpu, monkeypatch):
    monkeypatch.setattr(by_device.keras.backend, "backend", lambda: "jax")
    assert not by_device.on_gpu()

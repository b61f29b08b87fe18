"""Use of models: samples, walks, source beside target, commands, signatures, TFLite."""

import dataclasses
import os

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import oasis_tf
from oasis_tf.io.images import to_uint8
from oasis_tf.systems.few_shot import latents, loading
from oasis_tf.systems.few_shot.build import build_model
from oasis_tf.systems.few_shot.serving import signatures
from oasis_tf.systems.few_shot.synthesis import command
from tests.systems.few_shot.conftest import SIZE, write_model, write_pictures


@pytest.fixture(scope="module")
def of_classes(tmp_path_factory):
    """A BigGAN of three classes, for use."""
    folder = tmp_path_factory.mktemp("classes")
    for name in "abc":
        write_pictures(folder / "data" / name, 2, ord(name))
    path = write_model(folder / "model", folder / "data", "biggan", adapted=False)
    return oasis_tf.load(path)


def test_samples(adapted):
    """A seed has one image, whatever is sampled beside it; the source has others."""
    both = adapted.sample([3, 9], 0.7, source=True)
    assert np.abs(both.image).max() <= 1
    assert both.image.shape == both.source.shape == (2, SIZE, SIZE, 3)
    assert both.image.dtype == np.float32
    alone = adapted.sample(9, 0.7)
    assert alone.source is None
    np.testing.assert_allclose(alone.image[0], both.image[1], atol=1e-5)
    assert np.abs(both.image - both.source).mean() > 0.01
    counted = adapted.sample(8, 0.7, num_samples=2)
    np.testing.assert_allclose(counted.image[1], alone.image[0], atol=1e-5)
    assert both.sheet().shape == (2 * SIZE + 2, 2 * SIZE + 2, 3)


def test_truncation_of_stylegan2(adapted):
    """By the networks themselves: w goes towards its mean over many latents."""
    generator = adapted.generator_ema
    many = np.random.default_rng(1).standard_normal((20000, 8)).astype(np.float32)
    mean = generator.mapping(many).numpy().mean(0)
    np.testing.assert_allclose(adapted.centre()[0], mean, atol=0.05)
    z = adapted.latents([3])
    w = adapted.centre() + 0.6 * (generator.mapping(z) - adapted.centre())
    wanted = np.clip(generator.synthesis(generator.rows(w)).image, -1, 1)
    np.testing.assert_allclose(adapted.sample(3, 0.6).image, wanted, atol=1e-4)
    plain = np.clip(generator.synthesis(generator.rows(generator.mapping(z))).image, -1, 1)
    np.testing.assert_allclose(adapted.sample(3).image, plain, atol=1e-4)
    nothing = adapted.sample([3, 4], 0.0).image
    np.testing.assert_allclose(nothing[0], nothing[1], atol=1e-5)


def test_walk(adapted):
    walk = adapted.walk(3, 9, 5, source=True)
    ends = adapted.sample([3, 9], source=True)
    for found, wanted in ((walk.image, ends.image), (walk.source, ends.source)):
        assert len(found) == 5
        np.testing.assert_allclose(found[[0, -1]], wanted, atol=1e-4)
    changes = np.abs(np.diff(walk.image, axis=0)).mean((1, 2, 3))
    assert changes.min() > 0 and changes.max() < np.abs(ends.image[1] - ends.image[0]).mean()
    closed = adapted.closed_walk([3, 9], 4)
    z = adapted.latents([3, 9])
    np.testing.assert_array_equal(closed[::4], z)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda model: model.sample(0, 1.5), "`truncation` must be in 0..1"),
        (lambda model: model.walk(0, 1, 1), "`steps` must be at least 2"),
        (lambda model: model.sample([1, 2], num_samples=2), "`num_samples` counts seeds"),
    ],
)
def test_bad_calls(adapted, call, message):
    with pytest.raises(ValueError, match=message):
        call(adapted)


def test_biggan_of_classes(of_classes):
    """Latents are normal numbers and the embedding of a class; the walk takes its line."""
    generator, prior = of_classes.generator_ema, of_classes.prior
    v = of_classes.latents(range(30)).numpy()
    table = generator.embedding(np.arange(3)).numpy()
    drawn = generator.dim_z
    of = np.abs(v[:, None, drawn:] - table).max(-1).argmin(1)
    np.testing.assert_allclose(v[:, drawn:], table[of], atol=1e-6)
    assert set(of) == {0, 1, 2}
    image = of_classes.sample(5, 0.5).image
    wanted = generator(0.5 * v[5:6, :drawn], v[5:6, drawn:], training=False)
    np.testing.assert_allclose(image, wanted, atol=1e-5)
    middle = prior.between(v[:1], v[1:2], 0.5)
    np.testing.assert_allclose(middle[0, drawn:], (v[0] + v[1])[drawn:] / 2, atol=1e-6)
    with pytest.raises(ValueError, match="`source` needs a model that was adapted"):
        of_classes.sample(0, source=True)


@pytest.mark.slow
def test_standing_statistics_of_a_model_for_use(of_classes):
    config = of_classes.config
    standing = dataclasses.replace(config.model, standing_statistics=True)
    model = build_model(dataclasses.replace(config, model=standing), training=False)
    before = model.generator_ema.norm.moving_mean.numpy()
    model.settle()
    norm = model.generator_ema.norm
    assert norm.accumulations.numpy() == [16] and abs(norm.moving_mean - before).numpy().max() > 0
    assert not norm.accumulating
    assert np.abs(model.sample(0, num_samples=2).image).max() <= 1


def test_an_adapted_biggan(of_classes):
    """A joint Gaussian; if wanted, with the mean and deviation of the table."""
    config = of_classes.config
    for scale in ("standard", "table"):
        adaptation = dataclasses.replace(config.adaptation, source="SOURCE", embedding_scale=scale)
        changed = dataclasses.replace(config, adaptation=adaptation)
        prior = latents.prior_of(changed, of_classes.generator_ema)
        v = tf.function(prior.of_seeds)(tf.range(2000, dtype=tf.int64)).numpy()[:, -4:]
        table = of_classes.generator_ema.embedding(np.arange(3)).numpy()
        mean, deviation = (table.mean(0), table.std(0)) if scale == "table" else (0, 1)
        np.testing.assert_allclose((v.mean(0) - mean) / deviation, 0, atol=0.1)
        np.testing.assert_allclose(v.std(0) / deviation, 1, atol=0.1)
        ends = prior.of_seeds(np.array([1, 2], np.int64))
        np.testing.assert_allclose(prior.between(ends[:1], ends[1:], 1.0), ends[1:], atol=1e-5)


def run(flags_of, *arguments):
    """The command with flags, in this process."""
    from absl import flags

    values = flags.FlagValues()
    flags_of.define_flags(values)
    values(["synthesize", *arguments])
    return values


def test_synthesize(adapted_dir, adapted, tmp_path, monkeypatch):
    out = tmp_path / "out"
    values = run(
        command,
        *(f"--model_dir={adapted_dir}", f"--output={out}", "--seed=4", "--num_samples=3"),
        *("--grid", f"--walk={out}/walk.gif", "--frames=2", "--truncation=0.7"),
        "--beside_source",
    )
    monkeypatch.setattr(command.flags, "FLAGS", values)
    monkeypatch.setattr(loading, "load_model", lambda *_: adapted)
    command.main([])
    each = {f"seed{seed}{end}.png" for seed in (4, 5, 6) for end in ("", "_source")}
    assert set(os.listdir(out)) == each | {"grid.png", "walk.gif"}
    wanted = adapted.sample(5, 0.7, source=True)
    with Image.open(out / "seed5.png") as image, Image.open(out / "seed5_source.png") as source:
        close = [(image, wanted.image), (source, wanted.source)]
        for found, images in close:
            assert np.abs(np.asarray(found).astype(int) - to_uint8(images[0])).max() <= 1
    with Image.open(out / "walk.gif") as walk, Image.open(out / "grid.png") as grid:
        assert walk.size == (2 * SIZE, SIZE) and walk.n_frames == 6
        assert grid.size == (4 * SIZE + 2, 2 * SIZE + 2)
    with pytest.raises(ValueError, match="output files exist"):
        command.main([])


# === Exports ===


def test_signatures(adapted):
    """Seeds, and the source, as the model gives them; `demo_test.py` has a SavedModel's."""
    module, found = signatures.serving_module(adapted, 10**6)
    assert set(found) == {"serving_default", "sample", "from_latent", "beside_source", "png"}
    assert [(s.name, s.dtype, s.shape.as_list()) for s in module.sample.input_signature] == [
        ("seed", tf.int64, [None]),
        ("truncation", tf.float32, []),
    ]
    made = found["beside_source"](np.array([5, 6], np.int64), tf.constant(0.7))
    wanted = adapted.sample([5, 6], 0.7, source=True)
    np.testing.assert_allclose(made["image"], wanted.image, atol=1e-4)
    np.testing.assert_allclose(made["source"], wanted.source, atol=1e-4)
    with pytest.raises(ValueError, match="`max_pixels` must be at least"):
        signatures.serving_module(adapted, 100)


@pytest.mark.slow
def test_tflite(adapted, of_classes, tmp_path):
    from export.litert import metadata, planning, writing

    for model, name in ((adapted, "stylegan2"), (of_classes, "biggan")):
        path = tmp_path / f"{name}.tflite"
        chosen = planning.plan_export(
            model.config, str(path), "generator", ["none"], None, None, False, False
        )
        rows = writing.write(model, chosen, None, report_examples=2)
        assert rows[1]["max_error"] < 1e-4
        found = metadata.read(path.read_bytes())
        assert (found["step"], found["height"]) == (7, SIZE)
        assert ("embeddings" in found) == (name == "biggan")


def test_tflite_of_another_size_is_refused(adapted, tmp_path):
    from export.litert import planning

    with pytest.raises(ValueError, match="must be those of the model, 32x32"):
        planning.plan_export(
            adapted.config, str(tmp_path), "generator", ["none"], 64, 64, False, False
        )

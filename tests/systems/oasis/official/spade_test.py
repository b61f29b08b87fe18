"""SPADE's own checkpoints, against a NumPy account of its networks."""

from pathlib import Path

import numpy as np
import pytest

from oasis_tf import OASIS
from oasis_tf.data.datasets import folder_label_space, published_label_space
from oasis_tf.io import pth_files
from oasis_tf.systems.oasis import parts
from oasis_tf.systems.oasis.official import conversion, spade_weights
from tests.systems.oasis.official import spade_peer

WIDTHS = (4, 4, 4, 4, 3, 2, 1, 1)
SIZE = {"crop_height": 64, "crop_width": 64}


@pytest.fixture
def plan(tmp_path, monkeypatch):
    """function(G, E=None, **options) -> conversion plan of state dicts; own data by default."""

    def run(generator, encoder=None, settings=SIZE, **options):
        dicts = {"G.pth": generator, "E.pth": encoder, "D.pth": generator}
        monkeypatch.setattr(pth_files, "read_state_dict", lambda p, _: dicts[Path(p).name])
        for name in dicts:
            (tmp_path / name).touch()
        if encoder:
            options["encoder"] = str(tmp_path / "E.pth")
        return conversion.plan_conversion(
            tmp_path / "model",
            str(tmp_path / "G.pth"),
            settings=settings,
            **{"dataset": "folder", "unknown_label": 255} | options,
        )

    return run


def one_hot(channels, count, edges=0):
    """[count + edges, H, W] of a map of SPADE's channels."""
    hot = np.eye(count + edges)[channels]
    return hot.transpose(2, 0, 1)


@pytest.fixture(scope="module")
def raw():
    """A raw label map of classes 0..3, with unknown pixels (255)."""
    values = np.random.default_rng(3).integers(0, 5, (8, 8)).repeat(8, 0).repeat(8, 1)
    return np.where(values == 4, 255, values).astype(np.uint8)


def test_a_generator_makes_the_same_image(plan, raw):
    """Also kernels in the form of old PyTorch; the unknown label is SPADE's last class."""
    weights = spade_peer.random_generator(inputs=6, widths=WIDTHS)  # 4 classes, unknown, edges
    want = spade_peer.image(weights, one_hot(np.minimum(raw, 4), 5, edges=1))
    made = plan(spade_peer.in_old_form(weights, ("up_", "head_0.conv_1")), drop_edges=True)
    assert made.notes == ("The channel of instance edges is left out: edges are taken as absent.",)
    model = made.config.model
    assert (model.generator, model.upsampling, model.spade_channels) == ("spade", "normal", 3)
    assert (model.num_classes, model.has_unknown, model.has_discriminator) == (5, True, False)
    network = parts.make_generator(made.config)
    made.load(network, made.state_dicts["generator"])
    label_map = made.config.label_space.to_model_ids(raw, "raw").astype(np.int32)
    np.testing.assert_allclose(network(label_map[None])[0], want, atol=2e-5)
    assert want.std() > 0.2  # of an image that is neither flat nor saturated


def test_a_generator_with_an_encoder_makes_the_same_image(plan, raw):
    weights = spade_peer.random_generator(5, WIDTHS, latent=(6, 2, 3))
    encoder = spade_peer.random_encoder(latent=6, channels=2, layers=3)
    made = plan(weights, encoder, settings={"crop_height": 64, "crop_width": 96})
    network, own_encoder = parts.make_generator(made.config), parts.make_encoder(made.config)
    made.load(network, made.state_dicts["generator_ema"])
    made.load(own_encoder, made.state_dicts["encoder_ema"])
    rng = np.random.default_rng(4)
    picture, latent = rng.uniform(-1, 1, (32, 32, 3)), rng.normal(size=6)
    for got, want in zip(
        own_encoder(picture[None]), spade_peer.moments(encoder, picture), strict=True
    ):
        np.testing.assert_allclose(got[0], want, atol=1e-4)
    wide = np.concatenate([raw, raw[:, :32]], 1)
    want = spade_peer.image(weights, one_hot(np.minimum(wide, 4), 5), latent, (2, 3))
    label_map = made.config.label_space.to_model_ids(wide, "raw").astype(np.int32)
    np.testing.assert_allclose(
        network(label_map[None], latent[None].astype(np.float32))[0], want, atol=2e-5
    )


@pytest.mark.parametrize(
    ("dataset", "inputs", "edges", "expected"),
    [
        ("ade20k", 151, False, range(151)),  # 0 is unknown
        ("cityscapes", 36, True, range(35)),
        ("coco_stuff", 184, True, [182, *range(182)]),
        ("coco_stuff", 183, False, [182, *range(182)]),
    ],
)
def test_channels_of_published_models(dataset, inputs, edges, expected):
    space = published_label_space(dataset)
    channels = spade_weights.label_channels(space, inputs, edges, "G")
    np.testing.assert_array_equal(channels, expected)


@pytest.mark.parametrize(
    ("space", "inputs", "edges", "message"),
    [
        (published_label_space("coco_stuff"), 184, False, "takes instance edges.* --drop_edges"),
        (published_label_space("ade20k"), 151, True, "one for instance edges.* 151 channels"),
        (folder_label_space(4), 7, False, "7 channels, and 4 for the classes of folder"),
    ],
)
def test_channels_that_do_not_fit(space, inputs, edges, message):
    with pytest.raises(ValueError, match=message):
        spade_weights.label_channels(space, inputs, edges, "G")


def test_files_that_do_not_go_together(plan, tmp_path):
    label = spade_peer.random_generator(5, WIDTHS)
    latent = spade_peer.random_generator(5, WIDTHS, latent=(6, 2, 2))
    encoder, other = (spade_peer.random_encoder(n, channels=1, layers=2) for n in (6, 7))
    lacking = {name: value for name, value in label.items() if not name.startswith("up_1.")}
    low = {"crop_height": 32, "crop_width": 64}
    for message, arguments, options in (
        ("latent vector of an image encoder. Give --encoder", (latent,), {}),
        ("which starts from the label map. Leave --encoder out", (label, encoder), {}),
        ("7 latent channels, and 6", (latent, other), {}),
        ("--discriminator with", (label,), {"discriminator": str(tmp_path / "D.pth")}),
        ("have 4 pixels.*crop_height=32", (latent, encoder), {"settings": low}),
        ("up_1.conv_1.weight_orig must have 4", (lacking,), {}),
    ):
        with pytest.raises(ValueError, match=message):
            plan(*arguments, **options)


def test_a_missing_weight_is_named_as_spade_names_it(plan):
    weights = spade_peer.random_generator(5, WIDTHS) | {"up_9.conv_0.bias": np.zeros(1)}
    made = plan(weights)
    with pytest.raises(ValueError, match=r"No weight of SPADE is called 'up_9.conv_0.bias'"):
        made.load(parts.make_generator(made.config), made.state_dicts["generator"])


@pytest.mark.slow
def test_the_command(run_module, tmp_path, raw):
    """As PyTorch writes it, in a wrapper of DataParallel and under a key."""
    torch = pytest.importorskip("torch")
    weights = spade_peer.random_generator(5, WIDTHS)
    wrapped = {f"module.{name}": torch.from_numpy(np.array(v)) for name, v in weights.items()}
    torch.save({"epoch": 3, "net": {"state_dict": wrapped}}, tmp_path / "latest_net_G.pth")
    done = run_module(
        "oasis_tf.convert", "--checkpoint=latest_net_G.pth", "--model_dir=model",
        "--dataset=folder", "--unknown_label=255", "--crop_height=64", "--crop_width=64",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    model = OASIS.load(tmp_path / "model")
    label_map = model.label_space.to_model_ids(raw, "raw")
    want = spade_peer.image(weights, one_hot(np.minimum(raw, 4), 5))
    np.testing.assert_allclose(model.generate(label_map), want, atol=1e-4)

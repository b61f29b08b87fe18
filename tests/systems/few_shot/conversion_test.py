"""Checkpoints of other releases in and out, with recorded weights. Nothing here needs PyTorch."""

import re

import numpy as np
import pytest

import oasis_tf
from benchmarks import golden_files
from benchmarks.few_shot import recordings
from oasis_tf.io import pth_files
from oasis_tf.systems.few_shot import run_settings, source, stylegan2
from oasis_tf.systems.few_shot.config import Config
from oasis_tf.systems.few_shot.official import (
    checkpoints,
    conversion,
    sources,
    stylegan2_weights,
)
from tests.pickles import Call, Global, New, older_stream, plain, write_zip


@pytest.fixture(scope="module")
def golden():
    """Recorded state dicts by name."""
    recording = recordings.load(recordings.GOLDEN / "stylegan2.npz")
    return {name: golden_files.part(recording, name) for name in ("G0", "Gt", "D0")} | {
        "z": recording["z"],
        "Gt_image": recording["Gt_image"],
    }


@pytest.fixture(scope="module")
def tiny():
    """State dicts of small networks, by the same names: what builds models takes these."""
    sizes = (8, {4: 3, 8: 2})
    networks = {
        "G0": stylegan2.Generator(*sizes, style_dim=4, num_mlp=1),
        "Gt": stylegan2.Generator(*sizes, style_dim=4, num_mlp=1),
        "D0": stylegan2.Discriminator(*sizes),
    }
    return {name: stylegan2_weights.to_official(network) for name, network in networks.items()}


@pytest.fixture
def written(monkeypatch):
    """What is written as files of PyTorch, by their names."""
    found = {}

    def write(state, path):
        found[path] = state

    monkeypatch.setattr(pth_files, "check_torch", lambda: None)
    monkeypatch.setattr(pth_files, "write_state_dict", write)
    return found


def check_equal(got, want):
    assert set(got) == set(want)
    for name, array in want.items():
        np.testing.assert_array_equal(got[name], array, err_msg=name)


def prefixed(state):
    return {f"module.{name}": array for name, array in state.items()}


def rosinality(golden):
    return {
        "g": golden["G0"],
        "d": prefixed(golden["D0"]),
        "g_ema": golden["Gt"],
        "g_optim": {"state": {0: {"step": 3}}, "param_groups": [{"lr": 0.002}]},
        "args": New("argparse.Namespace", {"iter": 800000}),
        "ada_aug_p": 0.0,
    }


def test_rosinality_there_and_back(tiny, tmp_path, written):
    write_zip(tmp_path / "100.pt", rosinality(tiny))
    config = conversion.convert(str(tmp_path / "model"), str(tmp_path / "100.pt"))
    model = config.model
    assert (model.size, model.channels) == (8, (3, 2))
    assert (model.style_dim, model.num_mlp, model.has_discriminator) == (4, 1, True)
    (name,) = conversion.write_official(str(tmp_path / "model"), str(tmp_path / "back"))
    assert name == str(tmp_path / "back" / "000000.pt")
    (states,) = written.values()
    assert set(states) == {"g", "d", "g_ema"}
    for key, start in (("g", "G0"), ("d", "D0"), ("g_ema", "Gt")):
        check_equal(states[key], tiny[start])


def test_older_files(golden, tmp_path):
    (tmp_path / "100.pt").write_bytes(older_stream(rosinality(golden)))
    found = checkpoints.read(str(tmp_path / "100.pt"))
    for name, start in (("generator", "G0"), ("discriminator", "D0"), ("generator_ema", "Gt")):
        check_equal(found.states[name], golden[start])


@pytest.mark.slow
def test_results_of_cdc_sample_and_are_not_trained(golden, tmp_path):
    write_zip(tmp_path / "a.pt", {"g_ema": prefixed(golden["Gt"])})
    conversion.convert(str(tmp_path / "model"), str(tmp_path / "a.pt"))
    image = oasis_tf.load(tmp_path / "model").sample_latents(golden["z"][:2]).image
    want = np.clip(golden_files.nhwc(golden["Gt_image"]), -1, 1)
    np.testing.assert_allclose(np.clip(image, -1, 1), want, atol=1e-5)
    config = Config.load(tmp_path / "model")
    with pytest.raises(ValueError, match="must have a discriminator to be trained"):
        run_settings.resolve(
            {"data_dir": "x"}, pictures=source.Pictures(1, digest="a"), previous=config
        )


@pytest.mark.slow
def test_files_without_noise_and_filters(golden, tmp_path):
    state = {k: v for k, v in golden["G0"].items() if not re.search("noises|kernel", k)}
    write_zip(tmp_path / "a.pt", {"g": state, "latent_avg": np.zeros(16, "f4")})
    settings, arrays = sources.read(str(tmp_path / "a.pt"))
    assert not settings.has_discriminator
    np.testing.assert_array_equal(arrays["generator_ema/conv_0/bias"], state["conv1.activate.bias"])


# === NVlabs ===


def nvlabs_names(size):
    """Pairs of rosinality's and NVlabs' names of the generator (section 1.7 of its table)."""
    pairs = {"conv1": "synthesis.b4.conv1", "to_rgb1": "synthesis.b4.torgb"}
    for k in range(size.bit_length() - 3):
        stem = f"synthesis.b{8 << k}"
        pairs |= {f"convs.{2 * k + n}": f"{stem}.conv{n}" for n in (0, 1)}
        pairs[f"to_rgbs.{k}"] = f"{stem}.torgb"
    return pairs


def nvlabs_generator(state, size=64):
    found = {"synthesis.b4.const": state["input.input"][0]}
    for n in range(sum(re.fullmatch(r"style\.\d+\.bias", name) is not None for name in state)):
        for leaf in ("weight", "bias"):
            found[f"mapping.fc{n}.{leaf}"] = state[f"style.{n + 1}.{leaf}"]
    for theirs, layer in nvlabs_names(size).items():
        found[f"{layer}.weight"] = state[f"{theirs}.conv.weight"][0]
        found[f"{layer}.affine.weight"] = state[f"{theirs}.conv.modulation.weight"]
        found[f"{layer}.affine.bias"] = state[f"{theirs}.conv.modulation.bias"]
        if "torgb" in layer:
            found[f"{layer}.bias"] = state[f"{theirs}.bias"][0, :, 0, 0]
            continue
        number = 0 if theirs == "conv1" else int(theirs.split(".")[1]) + 1
        found[f"{layer}.bias"] = state[f"{theirs}.activate.bias"]
        found[f"{layer}.noise_strength"] = state[f"{theirs}.noise.weight"][0]
        found[f"{layer}.noise_const"] = state[f"noises.noise_{number}"][0, 0]
        found[f"{layer}.resample_filter"] = np.ones((4, 4), "f4")
    return found | {"mapping.w_avg": np.zeros(16, "f4")}


def nvlabs_discriminator(state, size=64):
    found = {
        f"b{size}.fromrgb.weight": state["convs.0.0.weight"],
        f"b{size}.fromrgb.bias": state["convs.0.1.bias"],
    }
    for j in range(1, size.bit_length() - 2):
        stem, theirs = f"b{size >> (j - 1)}", f"convs.{j}"
        found[f"{stem}.conv0.weight"] = state[f"{theirs}.conv1.0.weight"]
        found[f"{stem}.conv0.bias"] = state[f"{theirs}.conv1.1.bias"]
        found[f"{stem}.conv1.weight"] = state[f"{theirs}.conv2.1.weight"]
        found[f"{stem}.conv1.bias"] = state[f"{theirs}.conv2.2.bias"]
        found[f"{stem}.skip.weight"] = state[f"{theirs}.skip.1.weight"]
    for layer, theirs in (("fc", "final_linear.0"), ("out", "final_linear.1")):
        for leaf in ("weight", "bias"):
            found[f"b4.{layer}.{leaf}"] = state[f"{theirs}.{leaf}"]
    found["b4.conv.weight"] = state["final_conv.0.weight"]
    return found | {"b4.conv.bias": state["final_conv.1.bias"]}


def persistent(weights, arguments):
    """Weights by dotted names as a tree of NVlabs' modules."""
    inner = {}
    for name, array in weights.items():
        first, _, rest = name.partition(".")
        inner.setdefault(first, {})[rest] = np.asarray(array)
    own = {name: parts[""] for name, parts in inner.items() if "" in parts}
    state = {
        "_init_kwargs": New("dnnlib.util.EasyDict", {}) if arguments is None else arguments,
        "_parameters": {
            name: Call("torch._utils._rebuild_parameter", (array, True, {}))
            for name, array in own.items()
            if "filter" not in name
        },
        "_buffers": {name: array for name, array in own.items() if "filter" in name},
        "_modules": {
            name: persistent(parts, None) for name, parts in inner.items() if "" not in parts
        },
    }
    meta = {"type": "class", "version": 6, "module_src": "raise SystemExit", "class_name": "X"}
    return Call("torch_utils.persistence._reconstruct_persistent_obj", (meta | {"state": state},))


def write_nvlabs(path, golden, size=64, **changed):
    arguments = {"epilogue_kwargs": {"mbstd_group_size": 8}, "conv_clamp": 256}
    networks = {
        "G": persistent(nvlabs_generator(golden["G0"], size), {"synthesis_kwargs": {}}),
        "D": persistent(nvlabs_discriminator(golden["D0"], size), arguments),
        "G_ema": persistent(nvlabs_generator(golden["Gt"], size), None),
        "training_set_kwargs": New("dnnlib.util.EasyDict", {"path": "x"}),
        "augment_pipe": None,
    }
    path.write_bytes(plain(networks | changed))
    return str(path)


def test_nvlabs(golden, tmp_path):
    found = checkpoints.read(write_nvlabs(tmp_path / "a.pkl", golden))
    assert (found.settings["stddev_group"], found.settings["clamp"]) == (8, 256)
    wanted = {"generator": "G0", "generator_ema": "Gt", "discriminator": "D0"}
    for name, start in wanted.items():
        want = {k: v for k, v in golden[start].items() if not k.endswith("kernel")}
        state = {k: v for k, v in found.states[name].items() if k != "latent_avg"}
        check_equal(state, want)


def test_what_nvlabs_has_and_we_have_not(tiny, tmp_path):
    classes = nvlabs_generator(tiny["G0"], 8) | {"mapping.embed.weight": np.zeros((2, 2), "f4")}
    path = write_nvlabs(tmp_path / "a.pkl", tiny, 8, G=persistent(classes, None))
    with pytest.raises(ValueError, match=r"No weight .* 'mapping\.embed\.weight'"):
        conversion.convert(str(tmp_path / "model"), path)
    old = (New("dnnlib.tflib.network.Network", {"version": 4}), None, None)
    (tmp_path / "b.pkl").write_bytes(plain(old))
    with pytest.raises(ValueError, match="release for TensorFlow"):
        conversion.convert(str(tmp_path / "model"), str(tmp_path / "b.pkl"))
    assert not (tmp_path / "model").exists()


# === BigGAN ===


@pytest.mark.slow
def test_biggan_there_and_back(tmp_path, written):
    recording = recordings.load(recordings.GOLDEN / "biggan.npz")
    states = {
        file: golden_files.part(recording, start)
        for file, start in (("G", "G0"), ("D", "D0"), ("G_ema", "Gt"))
    }
    for file, state in states.items():
        write_zip(tmp_path / f"{file}.pth", state)
    paths = [str(tmp_path / f"{file}.pth") for file in ("G_ema", "G", "D")]
    config = conversion.convert(str(tmp_path / "model"), *paths)
    found = checkpoints.read(str(tmp_path))  # the folder of them
    for name, start in (("generator", "G0"), ("discriminator", "D0"), ("generator_ema", "Gt")):
        check_equal(found.states[name], golden_files.part(recording, start))
    meta = golden_files.meta(recording)
    model = config.model
    assert (model.network, model.size, model.ch) == ("biggan", meta["resolution"], meta["ch"])
    assert (model.num_classes, model.projection) == (meta["n_classes"], True)
    conversion.write_official(str(tmp_path / "model"), str(tmp_path / "back"))
    got = {re.sub(r".*/\.(\w+)\..*", r"\1", path): x for path, x in written.items()}
    for file, state in states.items():
        check_equal(got[file], state)


# === What is refused ===


def test_a_folder_without_a_generator(tmp_path):
    (tmp_path / "D.pth").touch()
    with pytest.raises(FileNotFoundError, match=r"must hold G\.pth"):
        checkpoints.read(str(tmp_path))


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (lambda g: {"g": {}, "d": g["D0"]}, "a discriminator alone"),
        (lambda g: {"epoch": 3}, "the keys 'epoch'"),
        (lambda g: {"g_ema": g["Gt"], "x": Call("os.system", ("true",))}, r"asks for os\.system"),
        (lambda g: {"g_ema": g["Gt"], "x": Global("builtins.eval")}, r"asks for builtins\.eval"),
        (
            lambda g: {"g": g["G0"] | {"convs.0.conv.blur.kernel": np.ones((4, 4), "f4")}},
            r"must be that of \[1, 3, 3, 1\]",
        ),
        (
            lambda g: {"g": g["G0"], "d": g["D0"] | {"convs.0.0.weight": np.ones((9, 3, 1, 1))}},
            "must have the same channels",
        ),
        (lambda g: {"g": g["G0"] | {"conv1.activate.bias": np.full(3, np.nan)}}, "finite"),
    ],
)
def test_what_is_refused(tiny, tmp_path, contents, message):
    write_zip(tmp_path / "a.pt", contents(tiny))
    with pytest.raises(ValueError, match=message):
        conversion.convert(str(tmp_path / "model"), str(tmp_path / "a.pt"))
    assert not (tmp_path / "model").exists()

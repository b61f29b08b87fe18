"""A segmenter from a file: how it is said to be used, what is refused, and what it answers."""

import gc
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from oasis_tf.data.datasets import folder_label_space
from oasis_tf.metrics.segmentation import external_segmenter, segmenter_labels
from oasis_tf.metrics.segmentation.confusion import NO_CLASS
from oasis_tf.metrics.segmentation.external_segmenter import ExternalSegmenter
from oasis_tf.metrics.settings import EvaluationConfig

COLOURS = np.array([(40, 40, 230), (230, 40, 40), (90, 90, 90), (40, 230, 40)])
SPACE = folder_label_space(4, unknown_label=0, class_names=["red", "green", "blue"])
CLASSES = {"0": "blue", "1": "red", "2": None, "3": "green"}
MODEL_IDS = np.array([3, 1, NO_CLASS, 2])
LOGITS = {"input": {"range": "uint8"}, "output": "logits", "classes": CLASSES}
LABEL_MAP = LOGITS | {"output": "label_map"}
SIZE = (16, 24)


def network(scale=255.0, offset=0.0, dtype="float32", pool=1, softened=0.0):
    """Logits of the nearest colour: of value x the colour is `x * scale + offset`."""
    inputs = keras.Input((None, None, 3), dtype=dtype)
    x = keras.layers.Rescaling(scale, offset)(inputs)
    if pool > 1:
        x = keras.layers.AveragePooling2D(pool)(x)
    # -(x - c)^2 but for x^2, which all have.
    conv = keras.layers.Conv2D(len(COLOURS), 1)
    outputs = conv(x)
    colours = COLOURS.astype(np.float32)
    conv.set_weights([2 * colours.T[None, None], -(colours**2).sum(1) + softened])
    return keras.Model(inputs, outputs)


def scene(seed=0, size=SIZE):
    """Noisy pixels of the four colours, uint8 [2,H,W,3], and which one each is."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 4, (2, *size))
    return np.clip(COLOURS[kind] + rng.normal(0, 8, (2, *size, 3)), 0, 255).astype(np.uint8), kind


def usage_of(values, tmp_path, label_space=SPACE):
    path = tmp_path / "labels.json"
    path.write_text(values if isinstance(values, str) else json.dumps(values))
    return segmenter_labels.read_usage(str(path), label_space)


def make(model, values, tmp_path, name="colours.keras"):
    path = tmp_path / name
    model.save(path)
    return ExternalSegmenter(str(path), usage_of(values, tmp_path), SPACE)


class Module(tf.Module):
    """A SavedModel that does not come from Keras: `answer` is a function of [B,H,W,3]."""

    def __init__(self, answer, dtype=tf.float32):
        super().__init__()
        self.zero = tf.Variable(0.0)  # there is nothing to be found without the variables
        self.answer = answer
        self.dtype = dtype

    def save(self, path, name="serving_default"):
        spec = tf.TensorSpec([None, None, None, 3], self.dtype, name="photo")
        function = tf.function(
            lambda photo: self.answer(photo, tf.cast(self.zero, tf.int32)), input_signature=[spec]
        )
        tf.saved_model.save(self, str(path), signatures={name: function})


def nearest_colour(photo, zero):
    distance = tf.cast(photo, tf.float32)[..., None, :] - COLOURS.astype(np.float32)
    return tf.argmin(tf.reduce_sum(distance**2, -1), -1, output_type=tf.int32) + zero


# === Answers ===


@pytest.mark.parametrize("name", ["a.keras", "a.h5"])
def test_keras_files(name, tmp_path):
    image, kind = scene()
    values = LOGITS | {"input": {"range": [0, 1]}}
    answer = make(network(), values, tmp_path, name).segment(image)
    assert answer.dtype == np.int32
    np.testing.assert_array_equal(answer, MODEL_IDS[kind])


def test_a_folder_that_keras_exported(tmp_path):
    image, kind = scene()
    network(1.0).export(tmp_path / "exported", verbose=False)
    segmenter = ExternalSegmenter(str(tmp_path / "exported"), usage_of(LOGITS, tmp_path), SPACE)
    np.testing.assert_array_equal(segmenter.segment(image), MODEL_IDS[kind])


@pytest.mark.parametrize("dtype", [tf.uint8, tf.float32])
def test_a_saved_model_that_gives_label_maps(dtype, tmp_path):
    image, kind = scene()
    segmenter = make(Module(nearest_colour, dtype), LABEL_MAP, tmp_path, "module")
    gc.collect()  # the variables of what was loaded are still there
    np.testing.assert_array_equal(segmenter.segment(image), MODEL_IDS[kind])


def test_half_precision_logits(tmp_path):
    image, kind = scene()
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        segmenter = make(network(1.0), LOGITS, tmp_path)
    finally:
        keras.config.set_dtype_policy(policy)
    np.testing.assert_array_equal(segmenter.segment(image), MODEL_IDS[kind])


def test_attributes_tell_what_decides_and_what_is_left_out(tmp_path):
    values = LOGITS | {"classes": {"0": "blue", "1": "red", "2": None, "3": None}}
    segmenter = make(network(), values, tmp_path, "UPer Net (101).v2.keras")
    assert segmenter.name == "UPer_Net_101_.v2"
    assert segmenter.classes == [1, 3]
    assert segmenter.protocol["usage"] == values
    assert json.loads(json.dumps(segmenter.protocol)) == segmenter.protocol
    assert "1 classes that no output" in segmenter.notes[0]
    assert make(network(), LOGITS, tmp_path).notes == ()


def test_the_digest_changes_with_the_weights(tmp_path):
    digests = set()
    for k, softened in enumerate((0.0, 1.0)):
        make(network(softened=softened), LOGITS, tmp_path, "a.keras")
        network(softened=softened).export(tmp_path / f"f{k}", verbose=False)
        digests |= {
            external_segmenter._digest(str(tmp_path / name)) for name in ("a.keras", f"f{k}")
        }
    assert len(digests) == 4


def bilinear(values, height, width):
    """Half-pixel centres, edges repeated: [h,w,K] -> [height,width,K], float64."""
    for axis, new in enumerate((height, width)):
        old = values.shape[axis]
        place = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
        low = np.floor(place).astype(int)
        high = np.minimum(low + 1, old - 1)
        share = np.expand_dims(place - low, tuple(k for k in range(3) if k != axis))
        values = (1 - share) * values.take(low, axis) + share * values.take(high, axis)
    return values


def test_coarse_logits_are_resized_before_the_argmax(tmp_path):
    image = scene(size=(SIZE[0] // 4, SIZE[1] // 4))[0].repeat(4, 1).repeat(4, 2)
    answer = make(network(1.0, pool=4), LOGITS, tmp_path).segment(image)
    pooled = image.reshape(2, SIZE[0] // 4, 4, SIZE[1] // 4, 4, 3).mean((2, 4))
    logits = 2 * pooled @ COLOURS.T - (COLOURS**2).sum(1)
    want = np.stack([bilinear(one, *SIZE).argmax(-1) for one in logits])
    np.testing.assert_array_equal(answer, MODEL_IDS[want])
    after = logits.argmax(-1).repeat(4, 1).repeat(4, 2)
    assert (MODEL_IDS[after] != answer).mean() > 0.05


def test_coarse_label_maps_take_the_nearest(tmp_path):
    image, kind = scene()
    module = Module(lambda photo, zero: nearest_colour(photo[:, 1::3, ::2], zero))
    answer = make(module, LABEL_MAP, tmp_path, "module").segment(image[:, :15])
    want = kind[:, 1:15:3, ::2].repeat(3, 1).repeat(2, 2)
    np.testing.assert_array_equal(answer, MODEL_IDS[want])


def test_outputs_may_be_merged_if_that_is_said(tmp_path):
    image, kind = scene()
    classes = CLASSES | {"2": "red"}
    segmenter = make(network(1.0), LOGITS | {"classes": classes, "merge": True}, tmp_path)
    np.testing.assert_array_equal(segmenter.segment(image), np.array([3, 1, 1, 2])[kind])
    assert segmenter.classes == [1, 2, 3]


# === Input ===


def test_input_as_it_is():
    image, _ = scene()
    given = external_segmenter.prepared(image, {"range": "uint8"})
    assert given.dtype == tf.uint8
    np.testing.assert_array_equal(given, image)


def test_input_scaled_and_normalised():
    image, _ = scene()
    usage = {"range": [-1, 2], "mean": [0.1, 0.2, 0.3], "std": [1, 2, 4], "channels": "bgr"}
    given = external_segmenter.prepared(image, usage)
    want = (image[..., ::-1] / 255.0 * 3 - 1 - [0.1, 0.2, 0.3]) / [1, 2, 4]
    np.testing.assert_allclose(given, want, atol=1e-6)


@pytest.mark.parametrize("value_range", ["uint8", [0, 255]])
def test_input_resized(value_range):
    image, _ = scene()
    given = external_segmenter.prepared(image, {"range": value_range, "resize": [10, 37]})
    want = np.stack([bilinear(one.astype(float), 10, 37) for one in image])
    if value_range == "uint8":
        assert given.dtype == tf.uint8
        assert np.abs(given.numpy() - want).max() <= 0.5 + 1e-3
    else:
        np.testing.assert_allclose(given, want, rtol=5e-6)


def test_answers_have_the_size_of_the_image_whatever_the_network_takes(tmp_path):
    image, kind = scene(size=(4, 6))
    image, kind = (x.repeat(4, 1).repeat(4, 2) for x in (image, kind))
    values = LOGITS | {"input": {"range": "uint8", "resize": [8, 12]}}
    answer = make(network(1.0), values, tmp_path).segment(image)
    assert answer.shape == (2, 16, 24)
    assert (answer == MODEL_IDS[kind]).mean() > 0.6  # borders are soft


# === Files that are refused ===


def with_input(**values):
    return LOGITS | {"input": {"range": [0, 1]} | values}


def with_classes(classes, **values):
    return LOGITS | {"classes": classes} | values


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ("no json", "is not JSON"),
        ('{"output": "logits", "output": "logits"}', "is not JSON: output is named twice"),
        ("[1]", r"The file must hold a JSON object. Received: \[1\]"),
        (
            {"input": {}, "outputs": 1, "classes": {}},
            "The file lacks output and has unknown entries outputs",
        ),
        (LOGITS | {"input": {}}, '"input" lacks range'),
        (with_input(range=[1, 1]), '"range" must be "uint8" or two different numbers'),
        (with_input(range=[0, True]), '"range" must be'),
        (with_input(range="float"), '"range" must be'),
        (with_input(mean=[1, 2]), r'"mean" must be three numbers. Received: \[1, 2\]'),
        (with_input(std=[1, 0, 1]), '"std" must be positive'),
        (with_input(range="uint8", std=[1, 1, 1]), '"std" needs a "range" of numbers'),
        (with_input(channels="gray"), '"channels" must be "rgb" or "bgr"'),
        (with_input(resize=[8]), r'"resize" must be null or \[height, width\]'),
        (with_input(resize=[8, 0]), '"resize" must be null'),
        (with_input(resize=[8, 8.5]), '"resize" must be null'),
        (LOGITS | {"output": ["logits"]}, '"output" must be "logits" or "label_map"'),
        (LOGITS | {"merge": 1}, '"merge" must be a bool'),
        (with_classes(["red"]), '"classes" must map output ids'),
        (with_classes({"one": "red"}), '"classes" must map output ids'),
        (with_classes({"00": "red"}), '"classes" must map output ids'),
        (with_classes({"0": 1}), '"classes" must map output ids'),
        (with_classes({"0": None}), "must name at least one class"),
        (
            with_classes({"0": "sky", "1": "red", "2": "unknown"}),
            r'Classes that the data set does not have .*Received: \["sky", "unknown"\]',
        ),
        (
            with_classes({"0": "red", "1": "red", "2": "blue"}),
            r'Several outputs.*"merge": true. Received: \["red"\]',
        ),
        (with_classes({"0": "red", "2": "blue"}), r"every id 0..K-1.*\[1\] lack. Received: \[0, 2"),
    ],
)
def test_bad_label_files_are_refused(values, message, tmp_path):
    with pytest.raises(ValueError, match=rf"--segmenter_labels={tmp_path}/labels.json.*{message}"):
        usage_of(values, tmp_path)


def test_the_form_shown_is_valid():
    values = json.loads(segmenter_labels.EXAMPLE)
    space = folder_label_space(2, class_names=["wall", "door"])
    segmenter_labels._check_input(values["input"])
    assert segmenter_labels._model_ids(values, space) == {0: 0, 1: NO_CLASS}


def test_the_form_documented_is_valid(tmp_path):
    text = segmenter_labels.__doc__.split("\n\n")[1]
    space = folder_label_space(3, unknown_label=255, class_names=["wall", "building"])
    assert usage_of(text, tmp_path, space).model_ids == {0: 1, 1: 2, 2: NO_CLASS}


@pytest.fixture
def files(tmp_path):
    """A Keras file and a label file, as `--segmenter` and `--segmenter_labels`."""
    network().save(tmp_path / "net.keras")
    (tmp_path / "net.json").write_text(json.dumps(LOGITS))
    return str(tmp_path / "net.keras"), str(tmp_path / "net.json")


def check(segmenter, labels):
    settings = EvaluationConfig(segmenter=str(segmenter), segmenter_labels=labels)
    external_segmenter.check(settings, SPACE)


def test_settings_that_work_pass(files, tmp_path):
    check("auto", None)
    check(*files)
    network().export(tmp_path / "folder", verbose=False)
    check(tmp_path / "folder", files[1])


def test_settings_that_cannot_work_are_refused(files, tmp_path):
    network_file, labels = files
    with pytest.raises(ValueError, match=r"--segmenter=auto"):
        check("auto", labels)
    with pytest.raises(ValueError, match=r'needs --segmenter_labels=FILE.json.*\{"input": \{'):
        check(network_file, None)
    with pytest.raises(ValueError, match=r"--segmenter_labels=none.json cannot be read: No such"):
        check(network_file, "none.json")
    with pytest.raises(ValueError, match=r"--segmenter must be auto, .*there is nothing"):
        check(tmp_path / "none.keras", labels)
    for other in (tmp_path, labels):
        with pytest.raises(ValueError, match="--segmenter must be auto, .*there is something else"):
            check(other, labels)
    network().save(tmp_path / "compact.h5")
    with pytest.raises(ValueError, match="compact is the name of .*Rename the file"):
        check(tmp_path / "compact.h5", labels)


# === Networks that are refused ===


def test_files_that_hold_no_segmenter(tmp_path):
    usage = usage_of(LOGITS, tmp_path)
    (tmp_path / "junk.keras").write_bytes(b"junk")
    (tmp_path / "junk").mkdir()
    (tmp_path / "junk" / "saved_model.pb").write_bytes(b"junk")
    Module(nearest_colour).save(tmp_path / "other", name="train")
    Module(lambda x, zero: {"a": x, "b": x}).save(tmp_path / "two")
    inputs = keras.Input((8, 8, 3))
    keras.Model(inputs, [inputs * 2, inputs + 1]).save(tmp_path / "two.keras")
    for name, reason in [
        ("junk.keras", ""),
        ("junk", ""),
        ("other", 'it has no signature "serving_default", but train'),
        ("two", r"outputs \['a', 'b'\]"),
        ("two.keras", "1 inputs and 2 outputs"),
    ]:
        with pytest.raises(ValueError, match=rf"--segmenter=.*/{name} cannot be used: .*{reason}"):
            ExternalSegmenter(str(tmp_path / name), usage, SPACE)


def test_outputs_of_another_kind_are_refused_when_tried_out(tmp_path):
    three = LOGITS | {"classes": {"0": "red", "1": "green", "2": "blue"}}
    with pytest.raises(ValueError, match=r"floats \[B,h,w,3\].*float32 \[2, 16, 16, 4\]"):
        make(network(1.0), three, tmp_path).try_out(2, 16, 16)
    with pytest.raises(ValueError, match=r"integers \[B,h,w\].*Received: float32"):
        make(network(1.0), LABEL_MAP, tmp_path).try_out(2, 16, 16)
    module = Module(lambda photo, zero: nearest_colour(photo, zero)[..., None])
    with pytest.raises(ValueError, match=r"integers \[B,h,w\].*int32 \[2, 16, 16, 1\]"):
        make(module, LABEL_MAP, tmp_path, "module").try_out(2, 16, 16)


def test_images_that_the_network_does_not_take(tmp_path):
    inputs = keras.Input((8, 8, 3))
    fixed = keras.Model(
        inputs, keras.layers.Conv2D(4, 1)(keras.layers.Flatten()(inputs)[:, None, None])
    )
    segmenter = make(fixed, LOGITS, tmp_path)
    with pytest.raises(ValueError, match=r'cannot be run on images \(2, 16, 16, 3\).*"resize"'):
        segmenter.try_out(2, 16, 16)
    values = LABEL_MAP | {"input": {"range": [0, 1]}}
    segmenter = make(Module(nearest_colour, tf.uint8), values, tmp_path, "module")
    with pytest.raises(ValueError, match='the network takes uint8: use "range": "uint8"'):
        segmenter.try_out(2, 16, 16)


def test_logits_must_be_finite(tmp_path):
    model = network(np.nan)
    with pytest.raises(ValueError, match="NaN or infinite"):
        make(model, LOGITS, tmp_path).try_out(1, 8, 8)


@pytest.mark.parametrize("shift", [1, -1, 300])
def test_ids_that_are_not_named_are_refused(shift, tmp_path):
    module = Module(lambda photo, zero: nearest_colour(photo, zero) + shift)
    segmenter = make(module, LABEL_MAP, tmp_path, "module")
    image, kind = scene()
    unnamed = sorted(set(range(shift, 4 + shift)) - set(range(4)))
    with pytest.raises(ValueError, match=rf"does not name: \[{', '.join(map(str, unnamed))}\]"):
        segmenter.segment(image)

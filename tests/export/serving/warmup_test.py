"""Warm-up records: as the server reads them, runnable, and never half written."""

import builtins
import os
import shutil

import pytest
import tensorflow as tf
from absl import flags
from tensorflow_serving.apis import prediction_log_pb2

from export import savedmodel
from export.serving import labels, warmup


@pytest.mark.slow
def test_one_record_a_signature_as_the_server_reads_it(exported, loaded):
    path = exported / "assets.extra" / "tf_serving_warmup_requests"
    logs = [
        prediction_log_pb2.PredictionLog.FromString(record)
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
    ]
    assert len(logs) <= 1000
    requests = {log.predict_log.request.model_spec.signature_name: log for log in logs}
    assert set(requests) == set(loaded.signatures)
    for name, log in requests.items():
        inputs = log.predict_log.request.inputs
        assert set(inputs) == set(loaded.signatures[name].inputs)
        for key, tensor in inputs.items():
            assert tensor.tensor_shape.dim[0].size == 1, (name, key)
    sizes = [dim.size for dim in requests["serving_default"].predict_log.request.inputs[
        "label_map"].tensor_shape.dim]  # fmt: skip
    assert sizes == [1, 64, 64]


USUAL = ("serving_default", "png")  # every further signature takes seconds when first run


@pytest.mark.parametrize("names", [USUAL, pytest.param(None, marks=pytest.mark.slow)])
def test_replay(exported, loaded, names):
    replayed = warmup.replay(exported, names)
    wanted = [name for name in loaded.signatures if names is None or name in names]
    assert [name for name, _ in replayed] == wanted


def copy(exported, folder):
    return shutil.copytree(exported, folder / "1")


def test_a_record_that_fails_is_told(exported, tmp_path):
    path = copy(exported, tmp_path)
    requests = {request.model_spec.signature_name: request for request in warmup.read(path)}
    request = requests["serving_default"]
    beyond = tf.make_ndarray(request.inputs["label_map"]) + 99
    request.inputs["label_map"].CopyFrom(tf.make_tensor_proto(beyond))
    write(path, request)
    with pytest.raises(ValueError, match=r"(?s)serving_default fails, a server .*model ids"):
        warmup.replay(path)
    del request.inputs["seed"]
    write(path, request)
    with pytest.raises(ValueError, match="takes the inputs label_map, seed"):
        warmup.replay(path)


def write(path, *requests):
    with tf.io.TFRecordWriter(str(path / warmup.PLACE)) as writer:
        for request in requests:
            log = prediction_log_pb2.PredictionLog()
            if request is not None:
                log.predict_log.request.CopyFrom(request)
            writer.write(log.SerializeToString())


def test_files_that_the_server_would_refuse(exported, tmp_path):
    path = copy(exported, tmp_path)
    request = warmup.read(path)[0]
    request.inputs.clear()
    write(path, *[request] * 1001)
    with pytest.raises(ValueError, match=r"1 to 1000 records\. Received: 1001"):
        warmup.read(path)
    write(path)
    with pytest.raises(ValueError, match="Received: 0"):
        warmup.read(path)
    write(path, request, None)
    with pytest.raises(ValueError, match="record 1 is no prediction"):
        warmup.read(path)
    (path / warmup.PLACE).unlink()
    with pytest.raises(ValueError, match="no warm-up records"):
        warmup.read(path)


def test_an_export_without_records(exported, shallow_model, tmp_path, monkeypatch):
    monkeypatch.setattr(warmup, "write", lambda *_: pytest.fail("not asked for"))
    monkeypatch.setattr(
        tf.saved_model, "save", lambda module, path, **_: os.makedirs(path, exist_ok=True)
    )
    savedmodel.export(shallow_model, str(tmp_path / "1"), warm_up=False)
    assert os.listdir(tmp_path / "1" / "assets.extra") == ["labels.json"]
    assert labels.read(tmp_path / "1") == labels.read(exported)


def test_failing_records_leave_no_export(shallow_model, tmp_path, monkeypatch):
    def fails(folder, signatures):
        raise OSError("disk full")

    monkeypatch.setattr(warmup, "write", fails)
    monkeypatch.setattr(tf.saved_model, "save", lambda *_, **__: None)
    with pytest.raises(OSError, match="disk full"):
        savedmodel.export(shallow_model, str(tmp_path / "1"), warm_up=True)
    assert os.listdir(tmp_path) == []


def test_without_the_extra_the_command_stops_at_the_start(tmp_path, monkeypatch):
    monkeypatch.setattr(warmup.importlib.util, "find_spec", lambda name: None)
    values = flags.FlagValues()
    savedmodel.define_flags(values)
    monkeypatch.setattr(flags, "FLAGS", values)
    values(["export", "--model_dir=nowhere", f"--output={tmp_path / 'out'}"])
    with pytest.raises(ValueError, match=r'pip install "oasis-tf\[serving\]"\. .*--nowarmup'):
        savedmodel.main([])
    values(["export", "--nowarmup"])
    with pytest.raises(FileNotFoundError, match="not a model directory"):
        savedmodel.main([])


def test_grpc_without_the_extra_says_what_to_install(monkeypatch):
    import sys

    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("tensorflow_serving"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.delitem(sys.modules, "export.serving.protos", raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    from export.serving.connections import GrpcConnection

    monkeypatch.delattr("export.serving.protos", raising=False)
    with pytest.raises(ValueError, match=r'gRPC needs .*"oasis-tf\[serving\]"'):
        GrpcConnection("127.0.0.1:9")


def test_label_spaces_are_read_from_exports_and_model_directories(exported, model, tmp_path):
    model.config.save(tmp_path / "model")
    for place in (exported, exported / labels.PLACE, tmp_path / "model"):
        found = labels.read(place)
        assert (found.space, found.height, found.width) == (model.label_space, 64, 64)
    with pytest.raises(ValueError, match="labels.json .* or config.json"):
        labels.read(tmp_path)
    (tmp_path / "labels.json").write_text("[]")
    with pytest.raises(ValueError, match="holds no label space"):
        labels.read(tmp_path / "labels.json")

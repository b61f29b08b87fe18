"""Settings of the server: they parse as what the server reads, and agree with each other."""

import subprocess

import pytest
import yaml
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
    wrappers_pb2,
)
from tensorflow_serving.config import model_server_config_pb2

from export.serving import config

NAMES = {
    "batching.config",
    "docker-compose.yml",
    "kubernetes.yaml",
    "models.config",
    "monitoring.config",
}
FIELD = descriptor_pb2.FieldDescriptorProto


def text(name):
    return config.shipped()[name].decode()


def message(name, fields):
    """A message class by its fields' names, numbers and types; such of the server's own messages
    as tensorflow-serving-api does not have."""
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{name}.proto", package="served", syntax="proto3",
        dependency=[wrappers_pb2.DESCRIPTOR.name],
    )  # fmt: skip
    described = file.message_type.add(name=name)
    for number, (field, kind) in enumerate(fields.items(), 1):
        added = described.field.add(name=field, number=number, label=FIELD.LABEL_OPTIONAL)
        if isinstance(kind, str):
            added.type, added.type_name = FIELD.TYPE_MESSAGE, kind
        else:
            added.type = kind
    return file


def parsed(files, name, contents):
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    for file in files:
        pool.Add(file)
    found = message_factory.GetMessageClass(pool.FindMessageTypeByName(f"served.{name}"))
    return text_format.Parse(contents, found())


def test_the_shipped_files():
    assert set(config.shipped()) == NAMES


def test_models_config():
    found = text_format.Parse(text("models.config"), model_server_config_pb2.ModelServerConfig())
    (model,) = found.model_config_list.config
    assert (model.name, model.base_path) == ("oasis", "/models/oasis")
    assert model.model_platform == "tensorflow"
    assert model.model_version_policy.latest.num_versions == 1


def test_batching_config():
    number, string = ".google.protobuf.Int64Value", ".google.protobuf.StringValue"
    fields = {
        "max_batch_size": number,
        "batch_timeout_micros": number,
        "max_enqueued_batches": number,
        "num_batch_threads": number,
        "thread_pool_name": string,
        "allowed_batch_sizes": FIELD.TYPE_INT64,
        "pad_variable_length_inputs": FIELD.TYPE_BOOL,
    }
    files = [message("BatchingParameters", fields)]
    found = parsed(files, "BatchingParameters", text("batching.config"))
    assert found.max_batch_size.value > 1
    assert found.num_batch_threads.value >= 1
    assert not found.pad_variable_length_inputs
    with pytest.raises(text_format.ParseError):
        parsed(files, "BatchingParameters", "max_batch: 3")


def test_monitoring_config():
    prometheus = message("Prometheus", {"enable": FIELD.TYPE_BOOL, "path": FIELD.TYPE_STRING})
    monitoring = message("Monitoring", {"prometheus_config": ".served.Prometheus"})
    monitoring.dependency.append("Prometheus.proto")
    found = parsed([prometheus, monitoring], "Monitoring", text("monitoring.config"))
    assert found.prometheus_config.enable
    pods = next(yaml.safe_load_all(text("kubernetes.yaml")))["spec"]["template"]
    path = pods["metadata"]["annotations"]["prometheus.io/path"]
    assert found.prometheus_config.path == path


def arguments_of(command):
    return dict(argument.removeprefix("--").split("=") for argument in command)


def test_compose_mounts_what_the_server_is_told_to_read():
    service = yaml.safe_load(text("docker-compose.yml"))["services"]["oasis"]
    mounts = dict(volume.split(":")[:2] for volume in service["volumes"])
    assert all(volume.endswith(":ro") for volume in service["volumes"])
    for flag, place in arguments_of(service["command"]).items():
        if flag.endswith("_file"):
            (source,) = (source for source, target in mounts.items() if target == place)
            assert source.removeprefix("./") in NAMES
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])


def test_kubernetes_probes_and_mounts():
    deployment, service = yaml.safe_load_all(text("kubernetes.yaml"))
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"] == {"path": "/v1/models/oasis", "port": "rest"}
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"grpc": 8500, "rest": 8501}
    assert {port["targetPort"] for port in service["spec"]["ports"]} == set(ports)
    assert service["spec"]["selector"] == deployment["spec"]["template"]["metadata"]["labels"]
    mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
    volumes = {volume["name"] for volume in deployment["spec"]["template"]["spec"]["volumes"]}
    assert set(mounts) == volumes
    assert mounts["models"]["readOnly"] and mounts["config"]["readOnly"]
    for flag, place in arguments_of(container["args"]).items():
        if flag.endswith("_file"):
            assert place.startswith("/config/") and place.removeprefix("/config/") in NAMES
    assert {"cpu", "memory"} <= set(container["resources"]["limits"])


def test_the_health_check_tells_a_server_that_answers(served_stand_in):
    service = yaml.safe_load(text("docker-compose.yml"))["services"]["oasis"]
    kind, *command = service["healthcheck"]["test"]
    assert (kind, command[:2]) == ("CMD", ["bash", "-c"])
    port = served_stand_in.url.split(":")[2].split("/")[0]

    def check(script):
        return subprocess.run([*command[:2], script], capture_output=True).returncode

    healthy = command[2].replace("8501", port)
    assert check(healthy) == 0
    assert check(healthy.replace("models/oasis", "models/other")) != 0
    assert check(command[2].replace("8501", "9")) != 0


def test_files_are_written_all_or_none(tmp_path):
    config.write(tmp_path / "settings")
    assert {path.name for path in (tmp_path / "settings").iterdir()} == NAMES
    with pytest.raises(FileExistsError, match="Choose another --output"):
        config.write(tmp_path / "settings")
    assert len(list(tmp_path.iterdir())) == 1

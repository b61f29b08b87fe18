"""REST and gRPC to a real export: the same bits, and what refusals become."""

import numpy as np
import pytest

from export.serving import labels, warmup
from export.serving.connections import GrpcConnection, RestConnection, ServingError

USUAL = ("serving_default", "png")  # every further signature takes seconds when first run


@pytest.fixture(scope="module")
def ways(served):
    url, address = served
    with (
        RestConnection(url, 120, retries=0) as rest,
        GrpcConnection(address, "oasis", 120, retries=0) as by_grpc,
    ):
        yield rest, by_grpc


@pytest.mark.parametrize("names", [USUAL, pytest.param(None, marks=pytest.mark.slow)])
def test_rest_grpc_and_the_model_give_the_same_bits(loaded, exported, ways, names):
    known = labels.read(exported)
    for name in names or loaded.signatures:
        inputs = warmup.example(loaded.specs(name), known, seed=11)
        expected = loaded.run(name, inputs)
        for connection in ways:
            found = connection.predict(name, inputs)
            assert set(found) == set(expected)
            for key, value in expected.items():
                np.testing.assert_array_equal(found[key], value, strict=True, err_msg=name)


def test_lists_get_the_dtypes_of_the_signature(model, ways):
    label_map = np.random.default_rng(2).integers(0, 5, (2, 64, 32), np.int32)
    expected = model.generate(label_map, seed=np.array([2, 2**40]))
    for connection in ways:
        inputs = {"label_map": label_map.tolist(), "seed": [2, 2**40]}
        found = connection.predict("serving_default", inputs)["image"]
        np.testing.assert_array_equal(found, expected, strict=True)


def test_both_tell_the_same_signatures(ways, loaded):
    rest, by_grpc = ways
    assert rest.signatures == by_grpc.signatures
    for name, signature in loaded.signatures.items():
        for ours, theirs in zip(rest.signatures[name], signature, strict=True):
            assert ours == {key: info.dtype for key, info in theirs.items()}
    assert set(rest.signatures) == set(loaded.signatures)


def test_refusals(ways):
    label_map, seed = np.full((1, 64, 64), 9), [1]
    for connection in ways:
        for name, inputs, code, message in (
            ("none", {}, "NOT_FOUND", "no signature none. It has: noise, png"),
            ("png", {"seed": seed}, "INVALID_ARGUMENT", "takes the inputs .*Received: seed"),
            (
                "serving_default",
                {"label_map": label_map, "seed": seed},
                "INVALID_ARGUMENT",
                "model ids",
            ),
        ):
            with pytest.raises(ServingError, match=message) as refused:
                connection.predict(name, inputs)
            assert refused.value.code == code


def test_grpc_tells_another_name_and_nobody(served):
    with (
        GrpcConnection(served[1], "other", 60) as connection,
        pytest.raises(ServingError, match="NOT_FOUND: Servable not found: other"),
    ):
        _ = connection.signatures
    with (
        GrpcConnection("127.0.0.1:9", "oasis", 60, retries=1) as connection,
        pytest.raises(ServingError, match="UNAVAILABLE"),
    ):
        _ = connection.signatures


def test_grpc_asks_again_as_often_as_allowed(stand_in):
    from tests.export.serving.peers import grpc_server

    inputs = {"image_bytes": [b"no picture"]}
    with grpc_server(stand_in) as address:
        for retries, asked in ((2, 3), (0, 1)):
            stand_in.asked, stand_in.failures = 0, ["UNAVAILABLE"] * 9
            with (
                GrpcConnection(address, "oasis", 60, retries=retries) as connection,
                pytest.raises(ServingError, match="UNAVAILABLE: a planned failure"),
            ):
                connection.predict("png_segment", inputs)
            assert stand_in.asked == asked
        stand_in.asked, stand_in.failures = 0, ["INTERNAL"]
        with (
            GrpcConnection(address, "oasis", 60, retries=2) as connection,
            pytest.raises(ServingError, match="INTERNAL: a planned failure"),
        ):
            connection.predict("png_segment", inputs)
        assert stand_in.asked == 1

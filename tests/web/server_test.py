"""The server of all demos: predictions of a toy, refusals, bounds, and where it listens."""

import asyncio
import base64
import json
import re
import socket
import subprocess
import sys
import threading

import pytest

pytest.importorskip("starlette", reason="the demo's extra is not installed")
pytest.importorskip("uvicorn", reason="the demo's extra is not installed")

from starlette.responses import PlainTextResponse
from starlette.routing import Route

from oasis_tf.web import guard, requests, rest, server
from oasis_tf.web.predictions import Predictions
from oasis_tf.web.public_url import PublicUrl
from oasis_tf.web.turns import Superseded, Turns
from tests.web.asgi import Client
from tests.web.toy import Toy

PREDICT = "/v1/models/toy:predict"


async def home(request):
    return PlainTextResponse("home")


def application(**options):
    routes = [*Predictions("toy", Toy()).routes(), Route("/", home)]
    return server.application(routes, **options)


@pytest.fixture
def client():
    return Client(application())


def b64(contents):
    return {"b64": base64.b64encode(contents).decode()}


def dumps(value):
    return json.dumps(value).encode()


def ids(value):
    """Names of parametrized tests: the words looked for, never what is sent."""
    return value if isinstance(value, str) else "sent"


def assert_refused(response, status, *words):
    assert response.status_code == status, response.text
    assert set(response.json()) == {"error"}
    message = response.json()["error"]
    for word in words:
        assert word in message
    assert "Traceback" not in message and "/tmp" not in message
    assert len(message) < 1000


# === Predictions ===


def text(**inputs):
    return b64(repr(sorted(inputs.items())).encode())


def test_rows_of_a_request(client):
    rows = [{"image_bytes": b64(b"xyz"), "seed": seed} for seed in (1, -(2**63))]
    response = client.post(PREDICT, json={"signature_name": "png", "instances": rows})
    want = [text(image_bytes=b"xyz", seed=seed) for seed in (1, -(2**63))]
    assert response.json() == {"predictions": want}
    assert re.fullmatch(r"model;dur=\d+\.\d", response.headers["server-timing"])


def test_several_outputs_have_names(client):
    row = {"image_bytes": b64(b"xyz")}
    response = client.post(PREDICT, json={"signature_name": "both", "instances": [row]})
    want = {"text_bytes": text(image_bytes=b"xyz"), "back_bytes": b64(b"zyx")}
    assert response.json() == {"predictions": [want]}


def test_inputs_of_every_kind(client):
    row = {"map_bytes": b64(b""), "seed": [3, 2**63 - 1], "share": 1, "amounts": [-1, 0.5]}
    response = client.post(PREDICT, json={"signature_name": "mix", "instances": [row]})
    want = text(map_bytes=b"", seed=[3, 2**63 - 1], share=1.0, amounts=[-1.0, 0.5])
    assert response.json() == {"predictions": [want]}


def test_status_and_metadata(client):
    (version,) = client.get("/v1/models/toy").json()["model_version_status"]
    assert (version["version"], version["state"]) == ("5", "AVAILABLE")
    metadata = client.get("/v1/models/toy/metadata").json()
    assert metadata["model_spec"]["name"] == "toy"
    served = metadata["metadata"]["signature_def"]["signature_def"]
    assert {name: one["inputs"] for name, one in served.items()} == Toy.kinds
    assert_refused(client.get("/v1/models/other"), 404, "/v1/models/toy")
    assert_refused(client.post("/v1/models/other:predict"), 404, "toy:predict")
    assert_refused(client.post("/v1/models/toy/../x:predict"), 404)


def test_what_the_model_refuses_is_told_and_defects_stay_in_the_log(client):
    row = {"image_bytes": b64(b""), "seed": 13}
    refused = client.post(PREDICT, json={"signature_name": "png", "instances": [row]})
    assert_refused(refused, 400, "`seed` must not be 13")
    row["seed"] = 14
    failed = client.post(PREDICT, json={"signature_name": "png", "instances": [row]})
    assert_refused(failed, 500, "its log says why")
    assert "secret" not in failed.text


# === Requests that do not follow the form ===

IMAGE = {"image_bytes": b64(b"x")}
MIX = {"map_bytes": b64(b"x"), "seed": [1], "amounts": [0]}


@pytest.mark.parametrize(
    "body",
    [b"[" * 101, b"{" * 101, b"[" + b"[]," * 100 + b"0]", b"[" + b"0," * 20_001 + b"0]"],
    ids=["deep", "objects", "lists", "values"],
)
def test_what_takes_long_to_parse_is_not_parsed(client, body, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(rest.json, "loads", None)
        sent = client.post(PREDICT, content=body)
    assert_refused(sent, 400, "at most 100 lists and objects and 20,000 values")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "must be JSON"),
        (b"\xff\xfe{", "must be JSON"),
        (b"[" * 99, "must be JSON"),
        (b"[]", "JSON object"),
        (b"{}", "`signature_name` must be one of png, mix"),
        ({"signature_name": ["png"]}, "`signature_name`"),
        ({"signature_name": "png", "inputs": IMAGE | {"seed": 1}}, "`instances` must be a list"),
        ({"signature_name": "png", "instances": []}, "1 to 8"),
        ({"signature_name": "png", "instances": [IMAGE | {"seed": 1}] * 9}, "1 to 8"),
        ({"signature_name": "png", "instances": [3]}, "exactly the inputs"),
        ({"signature_name": "png", "instances": [IMAGE]}, "exactly the inputs"),
        ({"signature_name": "png", "instances": [IMAGE | {"seed": 1, "x": 1}]}, "exactly"),
        ({"signature_name": "png", "instances": [IMAGE | {"seed": 1.0}]}, "integer of 64 bits"),
        ({"signature_name": "png", "instances": [IMAGE | {"seed": True}]}, "integer of 64 bits"),
        ({"signature_name": "png", "instances": [IMAGE | {"seed": 2**63}]}, "integer of 64 bits"),
        ({"signature_name": "both", "instances": [{"image_bytes": "x"}]}, '{"b64": "…"}'),
        ({"signature_name": "both", "instances": [{"image_bytes": {"b64": "#"}}]}, "not base64"),
        ({"signature_name": "mix", "instances": [MIX | {"share": 1.1}]}, "0..1"),
        (b'{"signature_name": "mix", "instances": [%s]}'
         % dumps(MIX | {"share": float("nan")}), "0..1"),
        ({"signature_name": "mix", "instances": [MIX | {"share": 0, "amounts": [2]}]}, "in -1..1"),
        ({"signature_name": "mix", "instances": [MIX | {"share": 0, "seed": []}]}, "1 to 1024"),
        ({"signature_name": "mix", "instances": [MIX | {"share": 0, "seed": [1] * 1025}]}, "1024"),
        (dumps({"signature_name": "mix", "instances": [MIX | {"share": "#"}]})
         .replace(b'"#"', b"1" * 401), "40 digits at most. Received: 401"),
    ],
    ids=ids,
)  # fmt: skip
def test_refused_requests(client, body, words):
    body = body if isinstance(body, bytes) else dumps(body)
    assert_refused(client.post(PREDICT, content=body), 400, words)


# === Bounds ===


def test_size_of_requests(client, monkeypatch):
    monkeypatch.setattr(requests, "MAX_REQUEST", 1000)
    assert_refused(client.post(PREDICT, content=b"x" * 1001), 413, "at most")
    parts = (b"x" * 100 for _ in range(30))  # no length is announced
    assert_refused(client.post(PREDICT, content=parts), 413, "at most")
    assert_refused(client.post(PREDICT, content=b"x" * 1000), 400)


def test_rate(client, monkeypatch):
    monkeypatch.setattr(guard, "BURST", 3)
    monkeypatch.setattr(guard, "PER_SECOND", 0)
    answers = [client.post(PREDICT, content=b"") for _ in range(5)]
    assert [answer.status_code for answer in answers] == [400] * 3 + [429] * 2
    assert_refused(answers[-1], 429, "Too many requests")
    assert answers[-1].headers["retry-after"] == "1"
    assert client.get("/").status_code == 200


def test_all_bodies_together(client, monkeypatch):
    monkeypatch.setattr(requests, "MOST_BYTES", 1000)
    client = Client(application())
    answer = client.post(PREDICT, content=b"x" * 501)
    assert_refused(answer, 503, "busy. Try again in 1 s")
    assert answer.headers["retry-after"] == "1"
    for _ in range(5):  # what was read is given back
        assert_refused(client.post(PREDICT, content=b"x" * 500), 400)


def test_compressed_bodies(client):
    sent = client.post(PREDICT, content=b"x", headers={"Content-Encoding": "gzip"})
    assert_refused(sent, 415, "must not be compressed. Received: gzip")


def test_who_has_left_gives_up_its_place():
    done, gate = [], threading.Event()

    class Request:
        async def receive(self):
            return {"type": "http.disconnect"}

    async def main():
        turns = Turns()
        slow = asyncio.create_task(turns.run([gate.wait]))
        await asyncio.sleep(0)
        with pytest.raises(Superseded):
            await requests.while_there(Request(), turns.run([lambda: done.append(1)]))
        gate.set()
        await slow

    asyncio.run(main())
    assert not done


def test_other_sites_are_refused(client):
    foreign = {"Origin": "http://evil.example"}
    assert_refused(client.post(PREDICT, content=b"", headers=foreign), 403, "own page")
    own = {"Origin": "http://testserver"}
    assert client.post(PREDICT, content=b"", headers=own).status_code == 400
    guarded = Client(application(host="127.0.0.1"))
    assert_refused(guarded.get("/"), 403, "127.0.0.1")
    for name in ("localhost", "127.0.0.1:8000", "[::1]:8000"):
        assert guarded.get("/", headers={"Host": name}).status_code == 200
    for name in ("localhost.evil.example", "[", ""):
        assert guarded.get("/", headers={"Host": name}).status_code == 403
    for origin in ("http://[", "null", "testserver"):
        assert client.post(PREDICT, headers={"Origin": origin}).status_code == 403


# === Behind a proxy ===

PUBLIC = PublicUrl.parse("https://Demo.example.org:443/user/me/proxy/8000/")


@pytest.fixture
def behind():
    return Client(application(host="127.0.0.1", public=PUBLIC))


@pytest.mark.parametrize("host", ["demo.example.org", "127.0.0.1:8000", "localhost:8000"])
def test_proxies_hand_on_a_host_or_not(behind, host):
    for origin, status in [
        ("https://demo.example.org", 400),
        ("http://demo.example.org", 403 if host != "demo.example.org" else 400),
        ("https://evil.example", 403),
    ]:
        sent = behind.post(PREDICT, headers={"Host": host, "Origin": origin})
        assert sent.status_code == status, (origin, sent.text)
    refused = behind.get("/", headers={"Host": "evil.example"})
    assert_refused(refused, 403, "127.0.0.1, ::1, demo.example.org, localhost", "--public_url")


def test_proxies_cut_the_folder_off_or_not(behind):
    local = {"Host": "localhost"}
    for path in ("/", "/user/me/proxy/8000/"):
        assert behind.get(path, headers=local).text == "home"
    row = {"image_bytes": b64(b"xyz"), "seed": 1}
    body = {"signature_name": "png", "instances": [row]}
    sent = behind.post("/user/me/proxy/8000" + PREDICT, json=body, headers=local)
    assert sent.status_code == 200
    # Addresses in the page are relative to the folder, which ends with a slash.
    moved = behind.get("/user/me/proxy/8000", headers=local)
    assert (moved.status_code, moved.headers["location"]) == (307, str(PUBLIC))
    assert str(PUBLIC) == "https://demo.example.org/user/me/proxy/8000/"
    assert behind.get("/user/me/proxy/80001", headers=local).status_code == 404


def test_the_proxy_says_where_requests_come_from(behind, monkeypatch):
    monkeypatch.setattr(guard, "BURST", 1)
    monkeypatch.setattr(guard, "PER_SECOND", 0)
    for forwarded, status in [("1.1.1.1", 400), ("9.9.9.9, 1.1.1.1", 429), ("2.2.2.2", 400)]:
        headers = {"Host": "localhost", "X-Forwarded-For": forwarded}
        assert behind.post(PREDICT, headers=headers).status_code == status
    alone = Client(application())  # without a proxy anybody could claim anything
    claims = [{"X-Forwarded-For": f"1.1.1.{k}"} for k in range(2)]
    assert [alone.post(PREDICT, headers=one).status_code for one in claims] == [400, 429]


@pytest.mark.parametrize(
    "url",
    ["demo.example.org", "ftp://a", "https://", "https://a/b?c", "https://a b", "https://u@a"],
)
def test_refused_public_addresses(url):
    with pytest.raises(ValueError, match="--public_url must be the address"):
        PublicUrl.parse(url)


# === Listening ===


def test_loopback():
    assert all(map(server.is_loopback, ["127.0.0.1", "127.1.2.3", "localhost", "::1"]))
    assert not any(map(server.is_loopback, ["0.0.0.0", "::", "192.168.1.2", "example.org", ""]))


def test_a_port_that_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"Cannot listen on 127.0.0.1, port {port}.*--port"):
            server.listen("127.0.0.1", port)


def test_address():
    with server.listen("127.0.0.1", 0) as listening:
        assert re.fullmatch(r"Demo: http://127\.0\.0\.1:\d+", server.address(listening))


def test_missing_extra_is_named():
    code = "import sys; sys.modules['starlette.applications'] = None; import oasis_tf.web.server"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert 'pip install "oasis-tf[demo]"' in done.stderr


def test_every_kind_of_input_is_covered():
    assert {kind for inputs in Toy.kinds.values() for kind in inputs.values()} == set(rest._READERS)

"""Command: how fast a served model answers.

    python -m benchmarks.serving_load --url=http://localhost:8501/v1/models/oasis \\
        [--requests=200 --concurrency=8 --size=256x256 --signature=png --json=FILE]

or `--grpc=HOST:PORT` in the place of `--url`. `--concurrency` askers each wait for an answer before
they ask again (a closed loop), so latencies are those of a server with that many requests in
flight, the client's own work of writing and reading a request included. Label maps are blocks of
16 pixels of random classes; every request has another label map and seed, all from --seed. One
request before the others is not counted: the first of a signature waits for TensorFlow to prepare
its graph. Nothing is retried. Ends after --requests, or with what was done by then after
--max_seconds.
"""

import collections
import concurrent.futures
import contextlib
import dataclasses
import itertools
import json
import threading
import time

from absl import flags

from oasis_tf.cli import runner
from oasis_tf.settings import path_flags

SIGNATURES = ("png", "serving_default")
PERCENTILES = (50, 90, 95, 99)
_BLOCK = 16


def define_flags(flag_values):
    """Defines the flags of this command on `flag_values`."""
    from export.serving import client

    where = {"flag_values": flag_values}
    client.define_server_flags(where)
    flags.DEFINE_enum(
        "signature",
        "png",
        SIGNATURES,
        "png: files in and out; serving_default: integers in, floats out.",
        **where,
    )
    flags.DEFINE_string("size", "256x256", "HEIGHTxWIDTH of the label maps.", **where)
    flags.DEFINE_integer("num_classes", 2, "Model ids 0..num_classes - 1.", 1, **where)
    flags.DEFINE_integer("requests", 200, "How many.", 1, 1_000_000, **where)
    flags.DEFINE_integer("concurrency", 8, "Requests in flight.", 1, 256, **where)
    flags.DEFINE_float("max_seconds", 600.0, "Ends the test.", lower_bound=0.1, **where)
    flags.DEFINE_integer("seed", 0, "Of label maps and noise.", lower_bound=0, **where)
    path_flags.define_path("json", None, "Also write the report to this file.", **where)


@dataclasses.dataclass(frozen=True)
class Load:
    """What is asked: a signature, its sizes, and how often."""

    signature: str
    height: int
    width: int
    num_classes: int
    requests: int
    concurrency: int
    max_seconds: float = 600.0
    seed: int = 0

    def inputs(self, number):
        """Inputs of a request, a dict."""
        import numpy as np

        from oasis_tf.web.pictures import encode_png

        rng = np.random.default_rng([self.seed, number])
        blocks = -(-self.height // _BLOCK), -(-self.width // _BLOCK)
        ids = rng.integers(0, self.num_classes, blocks, np.int32)
        ids = ids.repeat(_BLOCK, 0).repeat(_BLOCK, 1)[: self.height, : self.width]
        seed = np.array([number], np.int64)
        if self.signature == "png":
            return {"label_map_bytes": [encode_png(ids)], "seed": seed}
        return {"label_map": ids[None], "seed": seed}


def measure(connection, load):
    """Asks, and reports.

    Args:
        connection: of `connections.connect`, without retries.
        load: `Load`.

    Returns:
        JSON-ready dict: the load, `answered`, `errors` (numbers by code), `seconds`,
        `requests_per_second`, `latency_ms` (percentiles, mean, max; None without an answer).

    Raises:
        ServingError: the server cannot be reached at all.
    """
    from export.serving.connections import ServingError

    with contextlib.suppress(ServingError):  # its answer, or its error, comes again
        connection.predict(load.signature, load.inputs(0))
    connection.signatures  # noqa: B018  a server that cannot be reached is told here
    numbers, lock = itertools.count(), threading.Lock()
    latencies, errors = [], collections.Counter()
    start = time.perf_counter()

    def ask():
        while True:
            with lock:
                number = next(numbers)
            if number >= load.requests or time.perf_counter() - start > load.max_seconds:
                return
            inputs, asked = load.inputs(number), time.perf_counter()
            try:
                connection.predict(load.signature, inputs)
                latencies.append(time.perf_counter() - asked)
            except ServingError as error:
                errors[error.code] += 1

    with concurrent.futures.ThreadPoolExecutor(load.concurrency) as pool:
        for asker in [pool.submit(ask) for _ in range(load.concurrency)]:
            asker.result()
    return _report(load, latencies, errors, time.perf_counter() - start)


def _report(load, latencies, errors, seconds):
    import numpy as np

    milliseconds = 1000 * np.array(latencies)
    found = None
    if latencies:
        found = {f"p{p}": float(np.percentile(milliseconds, p)) for p in PERCENTILES}
        found |= {"max": float(milliseconds.max()), "mean": float(milliseconds.mean())}
    return {
        "load": dataclasses.asdict(load),
        "answered": len(latencies),
        "errors": dict(sorted(errors.items())),
        "seconds": seconds,
        "requests_per_second": len(latencies) / seconds,
        "latency_ms": found,
    }


def as_text(report):
    """A report in a few lines."""
    load, latency = report["load"], report["latency_ms"]
    errors = ", ".join(f"{n} {code}" for code, n in report["errors"].items()) or "no errors"
    lines = [
        f"{load['signature']}, {load['height']}x{load['width']}, {load['concurrency']} in flight: "
        f"{report['answered']} answered in {report['seconds']:.1f} s, "
        f"{report['requests_per_second']:.2f} per second, {errors}"
    ]
    if latency:
        lines.append(", ".join(f"{name} {value:.0f} ms" for name, value in latency.items()))
    return "\n".join(lines)


def main(argv):
    """Measures, prints, and fails if nothing was answered."""
    del argv
    args = flags.FLAGS
    from export.serving import client
    from export.serving.connections import ServingError
    from oasis_tf.io import files

    size = client.chosen_size(args.size, None) if "x" in args.size else None
    if not size:
        raise ValueError(f"--size must be HEIGHTxWIDTH. Received: {args.size}")
    names = ("num_classes", "requests", "concurrency", "max_seconds", "seed")
    load = Load(args.signature, *size, *(args[name].value for name in names))
    if args["retries"].present and args.retries:
        raise ValueError("A load test retries nothing: leave out --retries.")
    args.retries = 0
    try:
        with client.server(args) as connection:
            report = measure(connection, load)
    except ServingError as error:
        raise ValueError(f"The model cannot be asked: {error}") from error
    print(as_text(report))
    if args.json:
        with files.written_aside(args.json) as aside, open(aside, "w", encoding="utf-8") as file:
            json.dump(report, file, indent=1)
    if not report["answered"]:
        raise ValueError("Nothing was answered.")


if __name__ == "__main__":
    runner.run(main, define_flags)

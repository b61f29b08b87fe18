"""Where a run sends its values: files in full, services as far as their interface goes."""

import csv
import json
import sys
import textwrap

import pytest

from oasis_tf.training import loggers
from oasis_tf.training.settings import LoopSettings
from oasis_tf.training.writer import SummaryWriter

CONFIG = {"training": {"seed": 3}}


def rows(folder):
    with open(folder / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def make(name, folder, step=0):
    (logger,) = loggers.start([name], str(folder), CONFIG, step)
    return logger


# === Settings ===


def test_names_are_checked_with_the_settings():
    assert LoopSettings(steps=1).loggers == []
    assert LoopSettings(steps=1, log_to="csv, mlflow,csv").loggers == ["csv", "mlflow"]
    message = "must name loggers among csv, wandb, mlflow. Received: log_to=csv,tensorbored"
    with pytest.raises(ValueError, match=message):
        LoopSettings(steps=1, log_to="csv,tensorbored")


def test_what_is_not_installed_is_refused_with_its_extra(monkeypatch):
    monkeypatch.setattr(loggers.importlib.util, "find_spec", lambda name: None)
    loggers.check(["csv"])
    for name in ("wandb", "mlflow"):
        with pytest.raises(ValueError, match=rf"`log_to` needs {name} .*oasis-tf\[{name}\]"):
            loggers.check(["csv", name])


# === csv ===


def test_csv_has_a_column_for_every_name(tmp_path):
    """Also for names that come later."""
    logger = make("csv", tmp_path)
    logger.log({"loss/g": 0.5}, 2)
    logger.log({"loss/g": 0.25, 'rate, of "it"': 1e-4}, 4)
    logger.log({"evaluation/fid": 3.0}, 4)
    logger.close()
    assert rows(tmp_path) == [
        {"step": "2", "loss/g": "0.5", 'rate, of "it"': "", "evaluation/fid": ""},
        {"step": "4", "loss/g": "0.25", 'rate, of "it"': "0.0001", "evaluation/fid": ""},
        {"step": "4", "loss/g": "", 'rate, of "it"': "", "evaluation/fid": "3.0"},
    ]


@pytest.mark.parametrize("tail", ["", "6,0.12", "6,0.125,7,8\n", "\x00\x00\n"])
def test_a_restart_writes_no_row_twice(tmp_path, tail):
    """From step 4, with rows after it, the last one perhaps damaged."""
    logger = make("csv", tmp_path)
    for step in (2, 4, 5):
        logger.log({"loss/g": step / 2}, step)
    with open(tmp_path / "metrics.csv", "a") as file:
        file.write(tail)
    logger = make("csv", tmp_path, step=4)
    for step in (5, 6):
        logger.log({"loss/g": step / 2}, step)
    assert [(row["step"], row["loss/g"]) for row in rows(tmp_path)] == [
        ("2", "1.0"),
        ("4", "2.0"),
        ("5", "2.5"),
        ("6", "3.0"),
    ]


# === Services ===

WANDB = """
    import json, types
    def record(*call):
        with open(PATH, "a") as file:
            file.write(json.dumps(call) + "\\n")
    def init(**arguments):
        record("init", arguments)
        return types.SimpleNamespace(
            id=arguments["id"] or "new",
            log=lambda values, step: record("log", values, step),
            finish=lambda: record("finish"),
        )
"""
MLFLOW = """
    import json, re, types
    def record(*call):
        with open(PATH, "a") as file:
            file.write(json.dumps(call) + "\\n")
    def calls():
        return [json.loads(line) for line in open(PATH)]
    def start_run(run_id, run_name):
        record("start_run", run_id, run_name)
        metrics = {n: v for c in calls() if c[0] == "log_metrics" for n, v in c[1].items()}
        data = types.SimpleNamespace(metrics=metrics if run_id else {})
        return types.SimpleNamespace(info=types.SimpleNamespace(run_id=run_id or "new"), data=data)
    def log_dict(contents, name):
        record("log_dict", contents, name)
    def log_metrics(values, step):
        assert all(re.fullmatch(r"[/\\w.\\- ]*", name) for name in values), values
        record("log_metrics", values, step)
    def end_run():
        record("end_run")
    class MlflowClient:
        def get_metric_history(self, run_id, name):
            assert run_id == "new"
            logged = [c for c in calls() if c[0] == "log_metrics" and name in c[1]]
            return [types.SimpleNamespace(step=step) for _, _, step in logged]
"""


@pytest.fixture
def service(tmp_path, monkeypatch):
    """function(name, source) that puts a module of this name in place; returns its calls."""

    put_in_place = []

    def put(name, source):
        put_in_place.append(name)
        path, folder = tmp_path / "calls.jsonl", tmp_path / "modules"
        folder.mkdir()
        (folder / f"{name}.py").write_text(f"PATH = {str(path)!r}\n{textwrap.dedent(source)}")
        monkeypatch.syspath_prepend(folder)
        monkeypatch.delitem(sys.modules, name, raising=False)
        loggers.check([name])
        return lambda: [json.loads(line) for line in path.read_text().splitlines()]

    yield put
    for name in put_in_place:
        sys.modules.pop(name, None)


def test_wandb_continues_its_run(service, tmp_path):
    calls, folder = service("wandb", WANDB), tmp_path / "street_scenes"
    folder.mkdir()
    logger = make("wandb", folder)
    logger.log({"loss/g": 0.5}, 2)
    logger.close()
    make("wandb", folder, step=2)
    common = {"dir": str(folder), "name": "street_scenes", "config": CONFIG, "resume": "allow"}
    assert calls() == [
        ["init", {**common, "id": None}],
        ["log", {"loss/g": 0.5}, 2],
        ["finish"],
        ["init", {**common, "id": "new"}],
    ]


def test_mlflow_continues_its_run_and_repeats_no_step(service, tmp_path):
    calls, folder = service("mlflow", MLFLOW), tmp_path / "street_scenes"
    folder.mkdir()
    logger = make("mlflow", folder)
    for step in (2, 4, 6):
        logger.log({"loss/g": step / 2}, step)
    logger.close()
    again = make("mlflow", folder, step=4)
    for step in (6, 8):
        again.log({"loss/g": step / 2}, step)
        again.log({"evaluation/iou/wall;brick": 0.5}, step)
    logged = [call[1:] for call in calls() if call[0] == "log_metrics" and call[1]]
    assert logged == [
        *([{"loss/g": step / 2}, step] for step in (2, 4, 6)),
        [{"evaluation/iou/wall_brick": 0.5}, 6],  # it had not come that far
        [{"loss/g": 4.0}, 8],
        [{"evaluation/iou/wall_brick": 0.5}, 8],
    ]
    starts = [call[1:] for call in calls() if call[0] == "start_run"]
    assert starts == [[None, "street_scenes"], ["new", None]]
    assert ["log_dict", CONFIG, "config.json"] in calls() and ["end_run"] in calls()


def test_a_service_that_refuses_the_run_is_named(service, tmp_path):
    service("wandb", "def init(**_):\n    raise RuntimeError('no key.')")
    message = "`log_to=wandb` must be able .*: no key. Mend it, or leave wandb out"
    with pytest.raises(ValueError, match=message):
        make("wandb", tmp_path)


class Failing:
    LOCAL = False

    def __init__(self):
        self.calls = 0

    def log(self, values, step):
        self.calls += 1
        raise ConnectionError("the service is gone")

    def close(self):
        pytest.fail("closed")


def test_a_service_that_fails_does_not_stop_a_run(tmp_path, caplog):
    failing = Failing()
    writer = SummaryWriter(str(tmp_path), [failing])
    for step in (1, 2):
        writer.scalars({"loss": 1.0}, step)
    writer.close()
    assert failing.calls == 1
    assert "Failing takes no more values of this run: the service is gone" in caplog.text


def test_a_file_that_cannot_be_written_does(tmp_path):
    writer = SummaryWriter(str(tmp_path), [make("csv", tmp_path)])
    (tmp_path / "metrics.csv").mkdir()
    with pytest.raises(OSError):
        writer.scalars({"loss": 1.0}, 1)

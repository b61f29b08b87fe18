"""What figures are measured on."""

import json
import os
import platform

import numpy as np

from benchmarks import environment


def test_environment():
    found = environment.environment()
    assert json.loads(json.dumps(found)) == found
    assert found["python"] == platform.python_version()
    assert found["packages"]["numpy"] == np.__version__
    assert 1 <= found["cores"] <= os.cpu_count()
    text = environment.as_text(found)
    assert found["cpu"] in text and f"{found['cores']} cores" in text


def test_environment_of_a_machine_that_tells_little(monkeypatch):
    monkeypatch.setenv("PATH", "")  # no git
    monkeypatch.setattr(environment, "_cpu", lambda field: "")
    monkeypatch.setattr(environment, "_PACKAGES", ("no_such_package",))
    found = environment.environment()
    assert (found["commit"], found["cpu_flags"]) == (None, [])
    assert found["packages"] == {"no_such_package": None}
    assert "no_such_package –" in environment.as_text(found)
    assert "commit unknown" in environment.as_text(found)

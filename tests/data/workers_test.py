"""Worker processes: order, bounded work in progress, no TensorFlow, no process after a crash."""

import os
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

from oasis_tf.data import workers
from oasis_tf.data.datasets import folder_label_space
from oasis_tf.data.examples import ShapesScene


@pytest.fixture
def run_script(tmp_path):
    """A function that runs Python text as a program; its module `tasks` is another text."""

    def run(text, tasks="", standard_input=False):
        path = tmp_path / "program.py"
        path.write_text(textwrap.dedent(text))
        (tmp_path / "tasks.py").write_text(textwrap.dedent(tasks))
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
        return subprocess.run(
            [sys.executable, "-" if standard_input else str(path)],
            input=path.read_text() if standard_input else None,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


def test_encoding_equals_that_of_this_process():
    space = folder_label_space(12)
    chunks = [[ShapesScene(f"{k}", 0, k, 16, 16)] for k in range(20)]
    results = []
    for count in (1, 2):
        with workers.pool(count, space) as ordered_map:
            results.append([chunk[0] for chunk in ordered_map(workers.encode, chunks)])
    for one, two in zip(*results, strict=True):
        assert (one.key, one.image, one.label) == (two.key, two.image, two.label)
        np.testing.assert_array_equal(one.class_pixels, two.class_pixels)


def test_order_bound_and_no_tensorflow(run_script):
    done = run_script(
        """
        from tasks import task
        from oasis_tf.data import workers
        from oasis_tf.data.datasets import folder_label_space

        taken = 0

        def items():
            global taken
            for item in range(30):
                taken = item
                yield item

        with workers.pool(2, folder_label_space(2)) as ordered_map:
            for expected, (item, modules) in enumerate(ordered_map(task, items())):
                assert item == expected and not modules, (item, modules)
                assert taken <= item + 6  # three per worker
        print("ok")
        """,
        """
        import sys, time

        def task(item):
            time.sleep(0.01 * (item % 3 == 0))
            return item, [name for name in ("tensorflow", "keras") if name in sys.modules]
        """,
    )
    assert done.stdout == "ok\n", done.stderr


@pytest.mark.parametrize("standard_input", [False, True])
def test_workers_do_not_need_the_main_script(run_script, standard_input):
    """It has no main guard, or is no file."""
    done = run_script(
        """
        from oasis_tf.data import workers
        from oasis_tf.data.datasets import folder_label_space
        from oasis_tf.data.examples import ShapesScene

        print("main")
        with workers.pool(2, folder_label_space(12)) as ordered_map:
            found = list(ordered_map(workers.check, [[ShapesScene("k", 0, 0, 16, 16)]] * 9))
        print(found == [[[]]] * 9)
        import sys
        print(sys.modules["__main__"].found is found)
        """,
        standard_input=standard_input,
    )
    assert done.stdout == "main\nTrue\nTrue\n", done.stderr
    assert not done.stderr


def test_errors_reach_the_caller_and_a_killed_worker_is_explained(run_script):
    done = run_script(
        """
        from tasks import task
        from oasis_tf.data import workers
        from oasis_tf.data.datasets import folder_label_space

        for item in ("file", "die"):
            try:
                with workers.pool(2, folder_label_space(2)) as ordered_map:
                    list(ordered_map(task, [item]))
            except (ValueError, OSError) as error:
                print(type(error).__name__, error)
        """,
        """
        import os

        def task(item):
            if item == "die":
                os._exit(9)
            raise ValueError(f"bad {item}")
        """,
    )
    first, second = done.stdout.splitlines()
    assert first == "ValueError bad file"
    assert second.startswith("OSError A worker process was killed") and "--num_workers" in second


def test_workers_end_with_a_killed_main_process(run_script):
    done = run_script(
        """
        import os, signal
        from tasks import task
        from oasis_tf.data import workers
        from oasis_tf.data.datasets import folder_label_space

        with workers.pool(2, folder_label_space(2)) as ordered_map:
            print(*set(ordered_map(task, range(20))), flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        """,
        """
        import os

        def task(_):
            return os.getpid()
        """,
    )
    processes = list(map(int, done.stdout.split()))
    assert processes and done.returncode == -9
    deadline = time.monotonic() + 20
    while any(map(is_running, processes)):
        assert time.monotonic() < deadline, f"still running: {processes}"
        time.sleep(0.1)


def is_running(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True

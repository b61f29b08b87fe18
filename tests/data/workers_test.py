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
    """A function that runs Python text as a program."""

    def run(text):
        path = tmp_path / "program.py"
        path.write_text(textwrap.dedent(text))
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        return subprocess.run(
            [sys.executable, str(path)],
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
        import sys, time
        from oasis_tf.data import workers
        from oasis_tf.data.datasets import folder_label_space

        def task(item):
            time.sleep(0.01 * (item % 3 == 0))
            return item, [name for name in ("tensorflow", "keras") if name in sys.modules]

        if __name__ == "__main__":
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
        """
    )
    assert done.stdout == "ok\n", done.stderr


def test_errors_reach_the_caller_and_a_killed_worker_is_explained(run_script):
    done = run_script(
        """
        import os
        from oasis_tf.data import workers
        from oasis_tf.data.datasets import folder_label_space

        def task(item):
            if item == "die":
                os._exit(9)
            raise ValueError(f"bad {item}")

        if __name__ == "__main__":
            for item in ("file", "die"):
                try:
                    with workers.pool(2, folder_label_space(2)) as ordered_map:
                        list(ordered_map(task, [item]))
                except (ValueError, OSError) as error:
                    print(type(error).__name__, error)
        """
    )
    first, second = done.stdout.splitlines()
    assert first == "ValueError bad file"
    assert second.startswith("OSError A worker process was killed") and "--num_workers" in second


def test_workers_end_with_a_killed_main_process(run_script):
    done = run_script(
        """
        import os, signal
        from oasis_tf.data import workers
        from oasis_tf.data.datasets import folder_label_space

        def task(_):
            return os.getpid()

        if __name__ == "__main__":
            with workers.pool(2, folder_label_space(2)) as ordered_map:
                print(*set(ordered_map(task, range(20))), flush=True)
                os.kill(os.getpid(), signal.SIGKILL)
        """
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

"""Contenders as processes: started, asked and ended. `contender.py` is their side."""

import contextlib
import json
import os
import select
import signal
import subprocess
import tempfile
import time

from benchmarks.environment import REPOSITORY

_TAIL_LINES = 15
_GRACE_SECONDS = 5


class OutOfMemoryError(ChildProcessError):
    """What was asked of a contender needs more memory than there is; it can be asked again."""


class Contender:
    """A contender's process; a context manager that ends it and all its children.

    Args:
        name: how it is called in messages and tables.
        command: list of str.
        timeout: seconds that an answer may take; an attribute, too, for the answers to come.
        threads: int, how many it should compute with.

    Raises:
        ChildProcessError, TimeoutError: from any method: it ended, has no memory, or took too long.
    """

    def __init__(self, name, command, timeout, threads):
        self.name, self.command = name, list(command)
        self.timeout = timeout
        self._received = b""
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the process)
        path = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
        self._process = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": str(threads)},
            start_new_session=True,  # so that its children can be ended with it
        )

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self._process.stdin.close()  # asks it to end
        if kind is None:
            self._signal(signal.SIGCONT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_GRACE_SECONDS)
        self._signal(signal.SIGKILL)
        self._process.wait()
        self._process.stdout.close()
        self._errors.close()

    def setup(self, message):
        """Sends what is to be computed; returns the contender's facts about itself."""
        return self._ask({"setup": message})

    def run(self, count):
        """Has it compute iterations: (seconds of all, peak bytes)."""
        answer = self._ask({"run": count})
        return answer["seconds"], answer["peak_bytes"]

    def _signal(self, number):
        """Sends a signal to the process and its children."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def _ask(self, request):
        # Between its turns a contender is stopped, so that nothing of it runs during another's.
        self._signal(signal.SIGCONT)
        answer = self._answer(request)
        self._signal(signal.SIGSTOP)
        return answer

    def _answer(self, request):
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._ended() from None
        answer = json.loads(self._line(request))
        if "out_of_memory" in answer:
            raise OutOfMemoryError(f"Contender {self.name}: {answer['out_of_memory']}")
        return answer

    def _line(self, request):
        """The next line of its standard output."""
        file, deadline = self._process.stdout.fileno(), time.monotonic() + self.timeout
        while b"\n" not in self._received:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([file], [], [], left)[0]:
                raise TimeoutError(
                    f"Contender {self.name} did not answer {next(iter(request))} within "
                    f"{self.timeout:g} seconds. Raise --timeout if it needs longer.{self._tail()}"
                )
            received = os.read(file, 65536)
            if not received:
                raise self._ended()
            self._received += received
        line, _, self._received = self._received.partition(b"\n")
        return line.decode(errors="replace")

    def _ended(self):
        try:
            code = f"exit code {self._process.wait(_GRACE_SECONDS)}"
        except subprocess.TimeoutExpired:
            code = "its standard output closed"
        return ChildProcessError(
            f"Contender {self.name} ended before it answered ({code}).{self._tail()}"
        )

    def _tail(self):
        """The last lines of its standard error."""
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").splitlines()[-_TAIL_LINES:]
        if not lines:
            return " It wrote nothing to standard error."
        return "\nIts standard error ends with:\n" + "\n".join(f"  {line}" for line in lines)

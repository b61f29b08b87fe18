"""A contender's side: answers the requests of `processes.py`, measures time and memory.

A request is a line of JSON, and so is the answer:

    {"setup": {…}}    once   {"state_bytes": of weights and optimizers, …}
    {"run": n}        often  {"seconds": of n iterations, "peak_bytes": …}

Standard library alone: TensorFlow and PyTorch are each loaded where they compute.
"""

import json
import os
import sys
import time


def serve(load_libraries, make):
    """Answers the requests on standard input until it ends.

    Standard output is for answers alone; what libraries print there goes to standard error.

    Args:
        load_libraries: function() that imports what the contender needs. Memory counts from then.
        make: function(setup) -> (run, facts). `setup` is the request's dict; `run(index)` computes
            one iteration with batch ``index`` modulo the number of batches and returns when the
            result is there; `facts` is a dict for the answer.
    """
    answer = _answers()
    load_libraries()
    memory = PeakMemory()
    run, done = None, 0
    for request in map(json.loads, sys.stdin):
        if "setup" in request:
            run, facts = make(request["setup"])
            answer({"memory": memory.method, **facts})
        else:
            count = request["run"]
            answer(_measured(run, range(done, done + count), memory))
            done += count


def _answers():
    """Function that writes an answer to where standard output went until now."""
    file = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def answer(values):
        print(json.dumps(values), file=file, flush=True)

    return answer


def _measured(run, indices, memory):
    memory.reset()
    start = time.perf_counter()
    for index in indices:
        run(index)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "peak_bytes": memory.peak()}


class PeakMemory:
    """Peak of resident memory since `reset`, beyond what was resident when this was made.

    Where the system does not let a process reset its peak, it is the peak since the start.
    """

    def __init__(self):
        self._base = _memory("VmRSS")
        self.method = "peak resident memory less that after importing the libraries"
        self.method += ", reset before every round" if self.reset() else ", since the start"

    def reset(self):
        """Forgets the peak so far; returns whether the system allows it."""
        try:
            with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
                file.write("5")  # the kernel's number for: forget the peak of resident memory
        except OSError:
            return False
        return True

    def peak(self):
        """int bytes."""
        return max(0, _memory("VmHWM") - self._base)


def _memory(field):
    """Bytes of a field of /proc/self/status; elsewhere the peak, all that other systems tell."""
    try:
        with open("/proc/self/status", encoding="ascii") as file:
            values = dict(line.split(":", 1) for line in file)
        return int(values[field].split()[0]) * 1024
    except (OSError, KeyError):
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit

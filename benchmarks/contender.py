"""A contender's side: answers the requests of `processes.py`, measures time and memory.

A request is a line of JSON, and so is the answer:

    {"setup": {…}}    once   {"state_bytes": of weights and optimizers, …}
    {"run": n}        often  {"seconds": of n iterations, "peak_bytes": …}

To either the answer may be {"out_of_memory": why}; another setup may follow.
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
        try:
            if "setup" in request:
                run = None  # what was computed before needs its memory no more
                run, facts = make(request["setup"])
                answer({"memory": memory.method, **facts})
            else:
                count = request["run"]
                answer(_measured(run, range(done, done + count), memory))
                done += count
        except Exception as error:
            if not _is_out_of_memory(error):
                raise
            run = None
            answer({"out_of_memory": str(error).splitlines()[0] if str(error) else "no memory"})


def _is_out_of_memory(error):
    """Whether Python, PyTorch, or XLA (whose error is of no kind of its own) says so."""
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & {"MemoryError", "OutOfMemoryError"}) or "RESOURCE_EXHAUSTED" in str(error)


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

    Where the system does not let a process reset its peak, it is the peak since the start. Once
    PyTorch computes on a GPU, it is the peak of what PyTorch has allocated there.
    """

    def __init__(self):
        self._base = _memory("VmRSS")
        self._resets = self.reset()

    @property
    def method(self):
        """How it is measured, for the facts."""
        if _cuda():
            return "peak of what PyTorch has allocated on the GPU, reset before every round"
        when = "reset before every round" if self._resets else "since the start"
        return f"peak resident memory less that after importing the libraries, {when}"

    def reset(self):
        """Forgets the peak so far; returns whether the system allows it."""
        if _cuda():
            _cuda().reset_peak_memory_stats()
        try:
            with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
                file.write("5")  # the kernel's number for: forget the peak of resident memory
        except OSError:
            return False
        return True

    def peak(self):
        """int bytes."""
        if _cuda():
            return _cuda().max_memory_allocated()
        return max(0, _memory("VmHWM") - self._base)


def _cuda():
    """PyTorch's `cuda`, if it computes there."""
    torch = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_initialized() else None


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

"""Do our networks compute what a recording of a system's PyTorch peer holds?

    python -m benchmarks.parity [--system=oasis]

What is compared, and the other flags, are the system's: `benchmarks/SYSTEM/parity.py`, with
`define_flags(flag_values)` and `main(argv)`.
"""

import importlib
import importlib.util

from oasis_tf import systems
from oasis_tf.cli import system_runner


def _name(system):
    return f"benchmarks.{system}.parity"


def names():
    """Names of the systems that have a peer."""
    return [name for name in systems.NAMES if importlib.util.find_spec(_name(name))]


def _module(system):
    if system.name not in names():
        raise ValueError(
            f"The system must have a PyTorch peer. Received: system={system.name}, which has none. "
            f"Systems that do: {', '.join(names())}."
        )
    return importlib.import_module(_name(system.name))


def main(argv, system):
    """Compares, as the system does it."""
    _module(system).main(argv)


def define_flags(system, flag_values):
    """Defines the system's flags on `flag_values`."""
    _module(system).define_flags(flag_values)


if __name__ == "__main__":
    system_runner.run(main, define_flags, names())

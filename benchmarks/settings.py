"""Which systems `benchmarks.step` and `benchmarks.generate` measure, and with which settings.

A system that is measured has `benchmarks/SYSTEM/speed.py`:

    Settings            a subclass of the one here
    SWITCHES            dict from names of our switches of a step to their help
    define_flags(where) flags that say what is computed on
    source(args)        these flags, for the JSON file
    scenes(args, all)   what is computed on, for every one of the settings, read before measuring
    write_inputs(path, settings, scenes)    writes the .npz file; returns further facts of the setup

and the contenders' sides, `ours.py` (`LIBRARIES`, `make(setup, arrays, precision, **switches)`:
(run, variables)) and `torch_runs.py` (`LIBRARIES`, `RUNS`: by task, function(setup, arrays,
changes, prepare): (run, tensors of its state)).
"""

import dataclasses
import importlib
import importlib.util
from typing import ClassVar

from benchmarks.environment import usable_cores
from oasis_tf import systems


def setting(help_text, default):
    """A field that is a flag."""
    return dataclasses.field(default=default, metadata={"help": help_text})


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is computed. Every field but ``task`` is a flag.

    Attributes:
        SYSTEM: name of the system.
        LEAST: least values of fields, where it is not 1.
        SCALES: what --scale varies -> the settings that take a value of --values.

    Raises:
        ValueError: a number too small, or sides that the networks do not have.
    """

    SYSTEM: ClassVar[str]
    LEAST: ClassVar[dict] = {"threads": 0}
    SCALES: ClassVar[dict]

    task: str
    height: int = setting("Height of images in pixels.", 256)
    width: int = setting("Width of images in pixels.", 256)
    batch_size: int = setting("Images in a batch.", 1)
    channels: int = setting("Unit of the widths of both networks.", 64)
    noise_channels: int = setting("Channels of the noise vector; 0: no noise.", 64)
    threads: int = setting("Threads a contender computes with; 0: as many as cores.", 0)

    def __post_init__(self):
        for field in self.flag_fields():
            least, value = self.LEAST.get(field.name, 1), getattr(self, field.name)
            if value < least:
                raise ValueError(f"`{field.name}` must be at least {least}. Received: {value}.")
        self.check_sides()

    @classmethod
    def flag_fields(cls):
        """The fields that are flags."""
        return [field for field in dataclasses.fields(cls) if field.metadata]

    def check_sides(self):
        """Raises ValueError: the networks do not have these sides."""

    @property
    def text(self):
        """What else the title of a table says."""
        return f"widths × {self.channels}"

    def message(self, path, **facts):
        """The setup that contenders get: dict for JSON."""
        values = dataclasses.asdict(self) | {"threads": self.threads or usable_cores()}
        return {"system": self.SYSTEM, **values, **facts, "inputs": str(path)}


def _name(system, module="speed"):
    return f"benchmarks.{system}.{module}"


def names():
    """Names of the systems that are measured."""
    return [name for name in systems.NAMES if importlib.util.find_spec(_name(name))]


def module_of(system, module="speed"):
    """A module of a system's benchmarks.

    Raises:
        ValueError: the system is not measured.
    """
    if system not in names():
        raise ValueError(
            f"The system must be one that is measured. Received: system={system}. Measured are: "
            f"{', '.join(names())}."
        )
    return importlib.import_module(_name(system, module))

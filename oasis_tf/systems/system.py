"""What the commands and the loop ask of a system. Nothing here needs TensorFlow."""

import abc
import importlib
from collections.abc import Mapping
from typing import Any, ClassVar

from oasis_tf.settings.run_config import RunConfig


class System(abc.ABC):
    """A system: its configuration, its model, its training, and what else it can do.

    The module that holds a system, and that of its configuration, load no TensorFlow.

    Attributes:
        name: as in `--system` and config.json.
        title: a line for `--help`.
        config: class of its configuration.
        abilities: what it can do beside training, such as "evaluate", "synthesize" or
            "savedmodel" -> the module that does it, imported when asked for. What a module must
            hold is said where the ability is used: `oasis_tf/evaluate.py`, `oasis_tf/demo.py`, the
            modules of `export/`; a command of a system's own (`cli.runner.run_ability`) holds
            `define_flags(flag_values)` and `main(argv)`.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    config: ClassVar[type[RunConfig]]
    abilities: ClassVar[Mapping[str, str]] = {}

    def ability(self, name: str) -> Any:
        """Returns the module of an ability.

        Raises:
            ValueError: the system does not have it; names those that do.
        """
        if name not in self.abilities:
            from oasis_tf import systems  # here: the registry imports this module

            able = ", ".join(systems.with_ability(name)) or "none"
            raise ValueError(
                f"The system must have the ability `{name}`. Received: system={self.name}, which "
                f"does not. Systems that do: {able}."
            )
        return importlib.import_module(self.abilities[name])

    @abc.abstractmethod
    def resolve(self, given: Mapping[str, Any], previous: RunConfig | None) -> RunConfig:
        """Returns the configuration that flags, a continued run and the data decide together.

        Args:
            given: settings by name, of the flags that were given.
            previous: configuration of the model directory, if it has one already.

        Raises:
            ValueError, OSError: impossible, missing or contradictory settings, or no data.
        """

    @abc.abstractmethod
    def describe(self, config: RunConfig) -> str:
        """Returns what `--dry_run` prints: configuration, parameter counts, a memory estimate."""

    @abc.abstractmethod
    def make_task(self, config: RunConfig, strategy: Any) -> Any:
        """Returns the `oasis_tf.training.task.Task` of a run.

        Args:
            config: the configuration.
            strategy: `tf.distribute` strategy under whose scope the model is made.
        """

    @abc.abstractmethod
    def load(self, model_dir: Any, checkpoint: int | str | None = None) -> Any:
        """Returns the model of a model directory; see `oasis_tf.load`."""

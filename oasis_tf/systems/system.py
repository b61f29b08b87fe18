"""The interface of a system to the commands and the loop. Nothing here needs TensorFlow."""

import abc
import importlib
from collections.abc import Mapping
from typing import Any, ClassVar

from oasis_tf.settings.run_config import RunConfig


class System(abc.ABC):
    """A system: its configuration, its model, its training, and its other abilities.

    The modules that define a system and its configuration load no TensorFlow.

    Attributes:
        name: name in `--system` and config.json.
        title: one line for `--help`.
        config: class of its configuration.
        abilities: name of an ability besides training, such as "evaluate", "synthesize" or
            "savedmodel" -> the module that has it, imported when it is needed. The user of an
            ability says what that module must define: `oasis_tf/evaluate.py`, `oasis_tf/demo.py`,
            the modules of `export/`. The module of a command that each system has its own way
            (`cli.system_runner.run_ability`) defines `define_flags(flag_values)` and `main(argv)`.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    config: ClassVar[type[RunConfig]]
    abilities: ClassVar[Mapping[str, str]] = {}

    def ability(self, name: str) -> Any:
        """Returns the module of an ability.

        Raises:
            ValueError: the system does not have it. The error names those that do.
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
        """Returns the configuration that follows from flags, a continued run and the data.

        Args:
            given: settings of the given flags, by name.
            previous: configuration of the model directory, or None if it has none.

        Raises:
            ValueError, OSError: settings are invalid, missing or contradictory, or there is no
                data.
        """

    @abc.abstractmethod
    def describe(self, config: RunConfig) -> str:
        """Returns the text of `--dry_run`: configuration, parameter counts, memory estimate."""

    @abc.abstractmethod
    def make_task(self, config: RunConfig, strategy: Any) -> Any:
        """Returns the `oasis_tf.training.task.Task` of a run.

        Args:
            config: the configuration.
            strategy: `tf.distribute` strategy in whose scope the model is created.
        """

    @abc.abstractmethod
    def load(self, model_dir: Any, checkpoint: int | str | None = None) -> Any:
        """Loads the model of a model directory; see `oasis_tf.load`."""

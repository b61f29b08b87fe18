"""The interface of a system to the commands and the loop. Nothing here needs TensorFlow."""

import importlib
from collections.abc import Mapping
from typing import Any, ClassVar

from oasis_tf.settings.run_config import RunConfig


class System:
    """A system: its configuration, its model, its training, and its other abilities.

    The modules that define a system and its configuration load no TensorFlow. Others of its room
    are imported when they are needed: `run_settings` defines `resolve_run`, `task` the task and
    `describe`, `loading` `load_model`, as the methods here say.

    Attributes:
        name: name in `--system` and config.json.
        title: one line for `--help`.
        room: package of the system.
        config: class of its configuration.
        task: name of the class of its task.
        abilities: name of an ability besides training, such as "evaluate", "synthesize" or
            "savedmodel" -> the module that has it, imported when it is needed. The user of an
            ability says what that module must define: `oasis_tf/evaluate.py`, `oasis_tf/demo.py`,
            the modules of `export/`. The module of a command that each system has its own way
            (`cli.system_runner.run_ability`) defines `define_flags(flag_values)` and `main(argv)`.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    room: ClassVar[str]
    config: ClassVar[type[RunConfig]]
    task: ClassVar[str]
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

    def _module(self, name: str) -> Any:
        return importlib.import_module(f"{self.room}.{name}")

    def resolve(self, given: Mapping[str, Any], previous: RunConfig | None) -> RunConfig:
        """Returns the configuration that follows from flags, a continued run and the data.

        Args:
            given: settings of the given flags, by name.
            previous: configuration of the model directory, or None if it has none.

        Raises:
            ValueError, OSError: settings are invalid, missing or contradictory, or there is no
                data.
        """
        return self._module("run_settings").resolve_run(given, previous)

    def describe(self, config: RunConfig) -> str:
        """Returns the text of `--dry_run`: configuration, parameter counts, memory estimate."""
        return self._module("task").describe(config)

    def make_task(self, config: RunConfig, strategy: Any) -> Any:
        """Returns the `oasis_tf.training.task.Task` of a run.

        Args:
            config: the configuration.
            strategy: `tf.distribute` strategy in whose scope the model is created.
        """
        return getattr(self._module("task"), self.task)(config, strategy)

    def load(self, model_dir: Any, checkpoint: int | str | None = None) -> Any:
        """Loads the model of a model directory; see `oasis_tf.load`."""
        return self._module("loading").load_model(model_dir, checkpoint)

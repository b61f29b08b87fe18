"""The configuration of a run: sections of settings, and the file config.json.

A system's configuration is a subclass of `RunConfig`: a frozen dataclass whose fields are sections
(frozen dataclasses of `setting` fields) and facts of the data set.
"""

import dataclasses
import json
import logging
import os
import re
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any, ClassVar, Self

from oasis_tf.io import files, json_files

CONFIG_FILE = "config.json"
FORMAT_VERSION = 1
# System of a config.json that was written before there was a choice of systems.
FIRST_SYSTEM = "oasis"


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Base of the configurations of all systems.

    A section class may have `DROPPED`, a mapping from settings of earlier releases to a text that
    says what happens instead. They are read and ignored with one line.

    Class attributes:
        SYSTEM: name of the system, as in `--system`.
        SECTIONS: section class by field name.
        FACTS: class by field name, with `to_json` and `from_json`, of facts of the data set.
        OPTIONAL: sections that an older config.json may lack; they have defaults.
        DEFAULT_EPOCHS: passes over the training data without `--steps` and `--epochs`; None for a
            system that counts only steps and has no `--epochs`.
    """

    SYSTEM: ClassVar[str]
    SECTIONS: ClassVar[Mapping[str, type]]
    FACTS: ClassVar[Mapping[str, type]] = {}
    OPTIONAL: ClassVar[Set[str]] = frozenset()
    DEFAULT_EPOCHS: ClassVar[int | None] = None

    def settings(self) -> dict[str, Any]:
        """Returns the values of all settings by name."""
        return {name: v for part in self.SECTIONS for name, v in vars(getattr(self, part)).items()}

    # === config.json ===

    def to_json(self) -> dict[str, Any]:
        """Returns the contents of config.json."""
        sections = {name: dataclasses.asdict(getattr(self, name)) for name in self.SECTIONS}
        facts = {name: getattr(self, name).to_json() for name in self.FACTS}
        contents = {"format_version": FORMAT_VERSION, "system": self.SYSTEM, **sections, **facts}
        return json.loads(json.dumps(contents))  # tuples become lists, as after reading

    def shared_json(self) -> dict[str, Any]:
        """Returns `to_json` without paths, which may differ between the workers of a run."""
        contents = self.to_json()
        for name, kind in self.SECTIONS.items():
            for field in dataclasses.fields(kind):
                if field.metadata["path"]:
                    del contents[name][field.name]
        return contents

    def to_text(self) -> str:
        """Returns `to_json` as text, with lists of plain values on one line."""
        return _compact(self.to_json())

    @classmethod
    def from_json(cls, contents: Mapping[str, Any], source: str = CONFIG_FILE) -> Self:
        """Creates a configuration; inverse of `to_json`.

        Args:
            contents: contents of config.json.
            source: its path, for messages.

        Raises:
            ValueError: another format version or system; settings that are unknown, invalid, or
                missing without a default.
        """
        _check_format(contents, source)
        contents = {"system": FIRST_SYSTEM} | dict(contents)
        if contents["system"] != cls.SYSTEM:
            raise ValueError(
                f"{source} must be of the system {cls.SYSTEM}. Received: "
                f"system={contents['system']!r}."
            )
        required = {*cls.SECTIONS, *cls.FACTS, "format_version", "system"} - cls.OPTIONAL
        _check_keys(required, contents, source, cls.OPTIONAL)
        try:
            sections = {
                name: _section_from_json(kind, contents[name], name, source)
                for name, kind in cls.SECTIONS.items()
                if name in contents
            }
            facts = {name: kind.from_json(contents[name]) for name, kind in cls.FACTS.items()}
            return cls(**sections, **facts)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{source} does not hold a usable configuration: {error}") from error

    def save(self, model_dir: str | os.PathLike[str]) -> None:
        """Writes config.json, whole or not at all, with a digest. Creates the directory if needed.

        Raises:
            OSError: the directory cannot be written.
        """
        path = Path(model_dir) / CONFIG_FILE
        try:
            with files.written_aside(path) as aside:
                text = _compact(json_files.sealed(self.to_json()))
                Path(aside).write_text(text, encoding="utf-8")
        except OSError as error:
            raise OSError(
                f"Cannot write {path}: {error.strerror or error}. Make room there, or use another "
                "--model_dir."
            ) from error

    @classmethod
    def load(cls, model_dir: str | os.PathLike[str]) -> Self:
        """Reads config.json of a model directory.

        Raises:
            FileNotFoundError: this is not a model directory.
            ValueError: config.json is damaged, of another format version or another system.
        """
        return cls.from_json(read_contents(model_dir), str(Path(model_dir) / CONFIG_FILE))


def read_contents(model_dir: str | os.PathLike[str]) -> Any:
    """Returns the contents of config.json of a model directory, without the digest.

    Raises:
        FileNotFoundError: this is not a model directory.
        ValueError: config.json is damaged.
    """
    path = Path(model_dir) / CONFIG_FILE
    try:
        return json_files.read(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(
            f"{model_dir} is not a model directory: it has no {CONFIG_FILE}. Give the "
            "--model_dir of python -m oasis_tf.train."
        ) from error


def system_name(model_dir: str | os.PathLike[str]) -> str:
    """Returns the name of the system of a model directory. Raises as `read_contents` does."""
    contents = read_contents(model_dir)
    return str(contents.get("system", FIRST_SYSTEM)) if isinstance(contents, dict) else FIRST_SYSTEM


def _compact(contents: Mapping[str, Any]) -> str:
    text = json.dumps(contents, indent=2)
    return re.sub(r"\[\n[^\[\]{}]*\]", _on_one_line, text) + "\n"


def _on_one_line(lines: re.Match[str]) -> str:
    return re.sub(r"(?<=\[)\s+|\s+(?=\])", "", re.sub(r"\n\s*", " ", lines[0]))


def _check_format(contents: Any, source: str) -> None:
    if not isinstance(contents, Mapping) or contents.get("format_version") != FORMAT_VERSION:
        version = contents.get("format_version") if isinstance(contents, Mapping) else contents
        raise ValueError(
            f"{source} must have format_version {FORMAT_VERSION}. Received: {version!r}. Use "
            "the release of oasis_tf that wrote it."
        )


def _check_keys(
    required: Set[str], contents: Mapping[str, Any], source: str, optional: Set[str] = frozenset()
) -> None:
    missing, unknown = required - set(contents), set(contents) - required - optional
    if missing or unknown:
        raise ValueError(
            f"{source} must have the keys {', '.join(sorted(required | optional))}. "
            f"Missing: {', '.join(sorted(missing)) or 'none'}; "
            f"unknown: {', '.join(sorted(unknown)) or 'none'}."
        )


def _section_from_json(kind: type, contents: Mapping[str, Any], name: str, source: str) -> Any:
    contents = dict(contents)
    for dropped, instead in getattr(kind, "DROPPED", {}).items():
        if dropped in contents:
            value = contents.pop(dropped)
            logging.warning("%s: `%s=%s` is ignored: %s", source, dropped, value, instead)
    # A missing setting is newer than the file. Its default is what was done before.
    fields = dataclasses.fields(kind)
    optional = {field.name for field in fields if field.default is not dataclasses.MISSING}
    required = {field.name for field in fields} - optional
    _check_keys(required, contents, f"`{name}`", optional)
    return kind(**contents)

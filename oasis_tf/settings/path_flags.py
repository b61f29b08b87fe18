"""Flags whose values are paths: `~` is the home folder, addresses such as `gs://…` are refused.

Every flag that names a file or a folder is defined here, so that the rule is one.
"""

from typing import Any

from absl import flags

from oasis_tf.io.paths import local_path


class PathParser(flags.ArgumentParser):
    """Parses a local path; see `local_path`."""

    syntactic_help = "a local path"

    def parse(self, argument: str) -> str:
        return local_path(argument)


class PathListParser(flags.ListParser):
    """Parses a comma list of local paths."""

    def parse(self, argument: str | list[str]) -> list[str]:
        return [local_path(path) for path in super().parse(argument)]


def define_path(
    name: str,
    default: str | None,
    help_text: str,
    *,
    parser: PathParser | None = None,
    **options: Any,
) -> None:
    """Defines a flag for the path of a file or folder.

    Args:
        name, default, help_text: of the flag.
        parser: another one than `PathParser`, which takes more than paths.
        **options: `flag_values` and `required`, of `flags.DEFINE`.
    """
    options["serializer"] = flags.ArgumentSerializer()
    flags.DEFINE(parser or PathParser(), name, default, help_text, **options)


def define_paths(name: str, default: str | None, help_text: str, **options: Any) -> None:
    """Defines a flag for a comma list of paths; arguments as of `define_path`."""
    options["serializer"] = flags.ListSerializer(",")
    flags.DEFINE(PathListParser(), name, default, help_text, **options)

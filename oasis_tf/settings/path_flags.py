"""Flags whose values are paths: `~` is the home folder, addresses such as `gs://…` are refused.

Every flag that names a file or a folder is defined here, so that the rule is one.
"""

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
    flag_values: flags.FlagValues,
    required: bool = False,
) -> None:
    """Defines a flag for the path of a file or folder."""
    serializer = flags.ArgumentSerializer()
    flags.DEFINE(PathParser(), name, default, help_text, flag_values, serializer, required=required)


def define_paths(
    name: str,
    default: str | None,
    help_text: str,
    *,
    flag_values: flags.FlagValues,
    required: bool = False,
) -> None:
    """Defines a flag for a comma list of paths."""
    serializer = flags.ListSerializer(",")
    flags.DEFINE(
        PathListParser(), name, default, help_text, flag_values, serializer, required=required
    )

"""Command: write the settings of TensorFlow Serving into a folder, to be looked through and used.

    python -m export.serving.config --output=DIR

models.config, batching.config and monitoring.config for the server, docker-compose.yml and
kubernetes.yaml for where it runs; each says in its comments what to change. The model is called
`oasis` in all of them. Nothing that exists is replaced.
"""

import importlib.resources
import os

from absl import flags

from oasis_tf.cli import runner
from oasis_tf.io import files
from oasis_tf.settings import path_flags


def define_flags(flag_values):
    """Defines the flags of this command on `flag_values`."""
    path_flags.define_path(
        "output", None, "Folder to make.", required=True, flag_values=flag_values
    )


def shipped():
    """Dict from the names of the settings' files to their contents, bytes."""
    folder = importlib.resources.files("export.serving") / "files"
    return {entry.name: entry.read_bytes() for entry in folder.iterdir() if entry.is_file()}


def write(folder):
    """Writes the files into a new folder, all or none.

    Raises:
        FileExistsError: there is something at `folder`.
    """
    if os.path.exists(folder):
        raise FileExistsError(f"{folder} exists. Choose another --output.")
    with files.folder_written_aside(folder) as aside:
        for name, contents in shipped().items():
            with open(os.path.join(aside, name), "wb") as file:
                file.write(contents)


def main(argv):
    """Writes the files."""
    del argv
    write(flags.FLAGS.output)
    print(f"Wrote {', '.join(sorted(shipped()))} to {flags.FLAGS.output}")


if __name__ == "__main__":
    runner.run(main, define_flags)

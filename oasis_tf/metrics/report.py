"""What an evaluation leaves behind: JSON with values and protocol."""

import json
import math
import os

from oasis_tf import files

FORMAT_VERSION = 1
FOLDER = "evaluations"


def default_path(model_dir, step):
    """Where the report of a model directory's step is kept."""
    return os.path.join(model_dir, FOLDER, f"step_{step:08d}.json")


def write(contents, path):
    """Writes a report as JSON, with null for values that do not exist."""
    metrics = {
        name: None if math.isnan(value) else value for name, value in contents["metrics"].items()
    }
    with files.written_aside(path) as aside, open(aside, "w", encoding="utf-8") as file:
        json.dump(contents | {"metrics": metrics}, file, indent=2, allow_nan=False)
        file.write("\n")

"""Command: generate with a model: images, edits, recreated photographs, data sets.

    python -m oasis_tf.synthesize --model_dir=DIR --output=DIR …

The input of a model, and so the other flags, depend on its system; `--help` lists them.
"""

from oasis_tf.cli import system_runner

if __name__ == "__main__":
    system_runner.run_ability("synthesize", reads_model=True)

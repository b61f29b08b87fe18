"""Command: convert checkpoints of other projects to model directories, and back.

    python -m oasis_tf.convert --checkpoint=FILE --model_dir=DIR …
    python -m oasis_tf.convert --model_dir=DIR --to_official=FOLDER

`--help` lists the flags of each system. In Python, `load_official(network, state_dict)` fills a
network of OASIS from NumPy arrays, and `to_official(network)` returns such arrays. Both work
without PyTorch.
"""

from oasis_tf.cli import system_runner
from oasis_tf.systems.oasis.official.release_weights import load_official, to_official

__all__ = ["load_official", "to_official"]

if __name__ == "__main__":
    system_runner.run_ability("convert")

"""Command: measure how much a segmentation network gains from generated images.

    python -m oasis_tf.augment_segmentation --data_dir=DATA --model_dirs=A,B …

`--help` lists the flags of each system.
"""

from oasis_tf.cli import system_runner

if __name__ == "__main__":
    system_runner.run_ability("augment_segmentation", reads_model=True)

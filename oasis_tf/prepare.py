"""Command: convert a data set to TFRecord shards and `dataset.json`.

    python -m oasis_tf.prepare --dataset=cityscapes --source=DIR --output=DIR
    python -m oasis_tf.prepare --dataset=folder --image_dir=DIR --label_dir=DIR \\
        --val_image_dir=DIR --val_label_dir=DIR --num_classes=12 --unknown_label=11 --output=DIR
    python -m oasis_tf.prepare --dataset=shapes --num_train=2000 --num_val=200 --output=DIR

`--help` lists the flags of each system.
"""

from oasis_tf.cli import system_runner

if __name__ == "__main__":
    system_runner.run_ability("prepare")

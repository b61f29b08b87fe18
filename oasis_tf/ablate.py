"""Command: train variants of a system on one data set, evaluate all alike, print a table.

    python -m oasis_tf.ablate --variants=A,B --data_dir=DATA --output=DIR …

`--help` lists the flags of each system.
"""

from oasis_tf.cli import system_runner

if __name__ == "__main__":
    system_runner.run_ability("ablate")

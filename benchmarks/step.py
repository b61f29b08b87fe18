"""How long does a training iteration take, ours beside others'?

    python -m benchmarks.step
    python -m benchmarks.step --ours=float32,bfloat16 --peer=eager --peer=best --json=step.json
    python -m benchmarks.step --scale=size --values=64,128,256 --plot=size.png
    python -m benchmarks.step --system=one_shot --ours=float32,bfloat16 --iterations=10

One iteration is G step, D step and moving average, by the compiled step that `oasis_tf.train` runs.
See docs/benchmarks.md.
"""

from benchmarks import comparison

if __name__ == "__main__":
    comparison.run("step", iterations=1)

"""How long does generating a batch take, ours beside others'?

    python -m benchmarks.generate
    python -m benchmarks.generate --ours=float32,bfloat16 --peer=eager --peer=best --json=image.json
    python -m benchmarks.generate --scale=num_classes --values=12,151,1204 --plot=classes.png
    python -m benchmarks.generate --system=one_shot --batch_size=1

One iteration is one call of `OASIS.generate` (of one_shot, of `OneShot.sample_latents`), the
averaged generator's images as an array. See docs/benchmarks.md.
"""

from benchmarks import comparison

if __name__ == "__main__":
    comparison.run("generate", iterations=3)

"""What does smoothness similarity cost, beside a pass of the generator with its gradient?

    python -m benchmarks.few_shot.smoothness --height=256 --width=256 --smoothness=32 --batch_size=1

Both are compiled with their gradients by all weights of the generator, and take turns: L_SS at the
side of --smoothness (the source's features, the target's, and the gradient of both gradients'
distance), and the images of as many latents. The other flags are those of
`benchmarks.step --system=few_shot`. See docs/benchmarks.md.
"""

import statistics
import tempfile
import time

from absl import flags

from benchmarks import comparison
from benchmarks.environment import as_text, environment
from benchmarks.few_shot import ours, speed
from oasis_tf.cli import runner


def define_flags(flag_values):
    """Defines the flags of this command on `flag_values`."""
    comparison.define_flags(flag_values, "step", iterations=1, system="few_shot")
    flag_values["smoothness"].default = 32
    flag_values["smoothness"].unparse()


def main(argv):
    """Measures; prints the seconds of both and the ratio, by rounds."""
    del argv
    args = flags.FLAGS
    chosen = comparison.settings_of("step", args, "few_shot")[None]
    if not chosen.smoothness:
        raise ValueError("--smoothness must be a side of features. Received: 0.")
    print(as_text(environment()))
    computations = _computations(chosen, args)
    for _ in range(args.warmup):
        for compute in computations.values():
            compute()
    seconds = {name: [] for name in computations}
    for _ in range(args.rounds):
        for name, compute in computations.items():
            start = time.perf_counter()
            compute()
            seconds[name].append(time.perf_counter() - start)
    ratios = [a / b for a, b in zip(*seconds.values(), strict=True)]
    print(f"\n{chosen.height}×{chosen.width}, batch {chosen.batch_size}, {chosen.text}")
    for name, found in seconds.items():
        print(f"{name}: {statistics.median(found):.3f} s ({min(found):.3f}–{max(found):.3f})")
    print(f"ratio: {statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})")


def _computations(chosen, args):
    """Functions of L_SS and of the generator with their gradients, by name; L_SS first."""
    import tensorflow as tf

    from oasis_tf.layers import winograd
    from oasis_tf.systems.few_shot import draws, networks
    from oasis_tf.systems.few_shot.build import build_model
    from oasis_tf.systems.few_shot.schedule import Parts

    threads = chosen.message("")["threads"]
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    pictures = speed.scenes(args, [chosen])[0]
    setup = chosen.message("", widths=chosen.widths)
    with tempfile.TemporaryDirectory() as folder:
        config = ours.new_config(setup, pictures, folder, "float32")
    model = build_model(config)
    found = draws.draw(config, 0, Parts(smooth=True))

    weights = [variable.value for variable in model.generator_variables]

    def compiled(loss):
        @tf.function(autograph=False)
        def gradients():
            with winograd.fewer_products():
                with tf.GradientTape() as tape:
                    total = loss()
                return tape.gradient(total, weights)

        def compute():
            gradients()[0].numpy()

        return compute

    def images():
        return tf.reduce_sum(networks.made(model.generator, found.g).image)

    return {
        "L_SS and its gradient": compiled(lambda: model.smoothness(found)),
        "generator and its gradient": compiled(images),
    }


if __name__ == "__main__":
    runner.run(main, define_flags)

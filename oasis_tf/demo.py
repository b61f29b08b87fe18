"""Command: paint label maps in the browser and see the image change.

    python -m oasis_tf.demo --model_dir=DIR
    python -m oasis_tf.demo --model_dir=DIR --serving_url=http://HOST:8501/v1/models/NAME

Serves one page that needs no other host. It listens on this machine alone unless `--host` says
otherwise. Needs the extra `demo`.
"""

from absl import flags

from oasis_tf.cli import common_flags, runner


def define_flags(flag_values):
    """Defines the flags of this command on `flag_values`."""
    where = {"flag_values": flag_values}
    flags.DEFINE_string("model_dir", None, "Model directory.", required=True, **where)
    common_flags.define_checkpoint_flag(flag_values)
    flags.DEFINE_string(
        "serving_url",
        None,
        "Model behind TensorFlow Serving, http://HOST:8501/v1/models/NAME, that paints in place of "
        "the weights in --model_dir, of which only config.json is read.",
        **where,
    )
    flags.DEFINE_integer(
        "port",
        8000,
        "Port; 0 takes a free one.",
        lower_bound=0,
        upper_bound=65535,
        **where,
    )
    flags.DEFINE_string(
        "host",
        "127.0.0.1",
        "Address to listen on. Anything but this machine's own lets others use the demo: it has "
        "no passwords and no encryption.",
        **where,
    )
    flags.DEFINE_string(
        "examples",
        None,
        "Label PNG, or folder of label PNGs, to begin with (the first 24); default: validation "
        "labels of the data trained on, if they are still there.",
        **where,
    )


def main(argv):
    """Checks everything, loads the model or asks for it, serves until interrupted."""
    del argv
    from oasis_tf.systems.oasis.config import Config
    from oasis_tf.web import server  # here: bad flags answer without TensorFlow

    args = flags.FLAGS
    if args.serving_url and args.checkpoint:
        raise ValueError("--checkpoint must be left out: with --serving_url no weights are loaded.")
    config = Config.load(args.model_dir)
    with server.listen(args.host, args.port) as listening:
        found = _examples(args, config)
        signatures = _served(args, config) if args.serving_url else _loaded(args)
        signatures.warm_up()
        app = server.application(config.label_space, signatures, found, args.host)
        print(server.address(listening), flush=True)
        if not server.is_loopback(args.host):
            print(server.WARNING, flush=True)
        server.serve(app, listening)


def _served(args, config):
    from oasis_tf.web.serving import TensorFlowServing

    return TensorFlowServing(args.serving_url, config)


def _loaded(args):
    from oasis_tf import OASIS
    from oasis_tf.systems.oasis.demo.signatures import Signatures

    return Signatures(OASIS.load(args.model_dir, common_flags.checkpoint(args.checkpoint)))


def _examples(args, config):
    from oasis_tf.systems.oasis.demo import examples

    size = config.data.crop_height, config.data.crop_width
    if args.examples:
        return examples.from_folder(args.examples, config.label_space, *size)
    return examples.from_data(config.data.data_dir, config.label_space, *size)


if __name__ == "__main__":
    runner.run(main, define_flags)

"""Command: paint label maps in the browser and see the image change.

    python -m oasis_tf.demo --model_dir=DIR

Serves one page that needs no other host. It listens on this machine alone unless `--host` says
otherwise. Needs the extra `demo`.
"""

from absl import flags

from oasis_tf import commandline


def define_flags(flag_values):
    """Defines the flags of this command on `flag_values`."""
    where = {"flag_values": flag_values}
    flags.DEFINE_string("model_dir", None, "Model directory.", required=True, **where)
    commandline.define_checkpoint_flag(flag_values)
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
    """Checks everything, loads the model, serves until interrupted."""
    del argv
    from oasis_tf.config import Config
    from oasis_tf.web import server  # here: bad flags answer without TensorFlow

    args = flags.FLAGS
    config = Config.load(args.model_dir)
    with server.listen(args.host, args.port) as listening:
        from oasis_tf import OASIS
        from oasis_tf.web import examples
        from oasis_tf.web.signatures import Signatures

        size = config.data.crop_height, config.data.crop_width
        if args.examples:
            found = examples.from_folder(args.examples, config.label_space, *size)
        else:
            found = examples.from_data(config.data.data_dir, config.label_space, *size)
        model = OASIS.load(args.model_dir, commandline.checkpoint(args.checkpoint))
        signatures = Signatures(model)
        signatures.warm_up()
        app = server.application(model, signatures, found, args.host)
        print(server.address(listening), flush=True)
        if not server.is_loopback(args.host):
            print(server.WARNING, flush=True)
        server.serve(app, listening)


if __name__ == "__main__":
    commandline.run(main, define_flags)

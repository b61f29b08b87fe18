"""Command: draw label maps in the browser and see the generated image change.

    python -m oasis_tf.demo --model_dir=DIR
    python -m oasis_tf.demo --model_dir=DIR --serving_url=http://HOST:8501/v1/models/NAME

Serves one page that needs no other host. It listens on this machine alone unless `--host` says
otherwise. Needs the extra `demo`.

The ability "demo" of a system is a module with `application(model_dir, *, checkpoint, serving_url,
example_path, host, public)`: an ASGI application, its model ready; `oasis_tf.web` has what demos
share.
"""

from absl import flags

from oasis_tf import systems
from oasis_tf.cli import common_flags, runner
from oasis_tf.settings import path_flags


def define_flags(flag_values):
    """Defines the flags of this command on `flag_values`."""
    where = {"flag_values": flag_values}
    common_flags.define_model_dir_flag(flag_values)
    common_flags.define_checkpoint_flag(flag_values)
    flags.DEFINE_string(
        "serving_url",
        None,
        "Model in TensorFlow Serving, http://HOST:8501/v1/models/NAME, that generates in place of "
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
        "public_url",
        None,
        "Address in visitors' browsers where a proxy is before the demo, with the path of its "
        "folder: https://demo.example.org, or https://HUB/user/NAME/proxy/8000. Requests must then "
        "come through the proxy alone.",
        **where,
    )
    path_flags.define_path(
        "examples",
        None,
        "Label PNG, or folder of label PNGs, to begin with (the first 24); default: validation "
        "labels of the data trained on, if they are still there.",
        **where,
    )


def main(argv):
    """Checks everything, loads the model or asks for it, serves until interrupted."""
    del argv
    from oasis_tf.web import server  # here: bad flags answer without an extra
    from oasis_tf.web.public_url import PublicUrl

    args = flags.FLAGS
    if args.serving_url and args.checkpoint:
        raise ValueError("--checkpoint must be left out: with --serving_url no weights are loaded.")
    public = PublicUrl.parse(args.public_url) if args.public_url else None
    demo = systems.of_model_dir(args.model_dir).ability("demo")
    with server.listen(args.host, args.port) as listening:
        app = demo.application(
            args.model_dir,
            checkpoint=common_flags.checkpoint(args.checkpoint),
            serving_url=args.serving_url,
            example_path=args.examples,
            host=args.host,
            public=public,
        )
        print(server.address(listening, public), flush=True)
        if not server.is_loopback(args.host):
            print(server.WARNING, flush=True)
        server.serve(app, listening)


if __name__ == "__main__":
    runner.run(main, define_flags)

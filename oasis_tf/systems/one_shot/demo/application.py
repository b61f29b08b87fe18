"""The demo of a model directory: the page, and what it must know of the model.

Predictions come from the model loaded in this process, or from TensorFlow Serving. In both cases
the browser asks this server alone.
"""

from oasis_tf import pretrained
from oasis_tf.systems.one_shot import palette
from oasis_tf.systems.one_shot.config import Config
from oasis_tf.systems.one_shot.demo import contract
from oasis_tf.web import sampler_demo

MODEL_NAME = "one_shot"


def application(
    model_dir, *, checkpoint=None, serving_url=None, example_path=None, host=None, public=None
):
    """The application of a model directory, its model warmed up; see `oasis_tf/demo.py`.

    Args:
        model_dir: model directory.
        checkpoint: as in `oasis_tf.load`.
        serving_url: of the model in TensorFlow Serving; then only config.json is read here.
        example_path: must be None: nothing is drawn here.
        host, public: as in `server.application`.

    Raises:
        ValueError, OSError: not a model directory, a served model that does not fit, or examples.
    """
    sampler_demo.check_no_examples(example_path, Config.SYSTEM)
    config = Config.load(pretrained.find(model_dir))
    signatures = served(serving_url, config) if serving_url else _loaded(model_dir, checkpoint)
    model = config.model
    facts = {
        "height": model.height,
        "width": model.width,
        # Of classes, by id; none without masks.
        "colours": palette.colours()[: model.num_classes].tolist(),
    }
    return sampler_demo.application(
        __package__, MODEL_NAME, signatures, facts, host=host, public=public
    )


def served(url, config):
    """The signatures of a model in TensorFlow Serving.

    Args:
        url: as of `TensorFlowServing`.
        config: `Config` of the model that is served.

    Raises:
        Unavailable, ValueError: as `TensorFlowServing`.
    """
    size = config.model.height, config.model.width
    outputs = contract.outputs(config.model.num_classes)
    return sampler_demo.ServedSampler(url, contract.KINDS, outputs, size, contract.EXAMPLE)


def _loaded(model_dir, checkpoint):
    # Here: with --serving_url nobody waits for TensorFlow.
    from oasis_tf.systems.one_shot.demo.signatures import Signatures
    from oasis_tf.systems.one_shot.loading import load_model

    return Signatures(load_model(model_dir, checkpoint))

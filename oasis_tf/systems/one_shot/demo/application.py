"""The demo of a model directory: the page, and what it must know of the model.

Predictions come from the model loaded in this process, or from TensorFlow Serving. In both cases
the browser asks this server alone.
"""

from starlette.responses import JSONResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from oasis_tf import pretrained
from oasis_tf.systems.one_shot import palette
from oasis_tf.systems.one_shot.config import Config
from oasis_tf.systems.one_shot.demo.served import ServedSignatures
from oasis_tf.web import pages, server
from oasis_tf.web.predictions import Predictions

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
    if example_path:
        raise ValueError(
            "`examples` are for systems that generate from label maps. Received: "
            f"examples={example_path} for a model of one_shot. Leave --examples out."
        )
    config = Config.load(pretrained.find(model_dir))
    if serving_url:
        signatures = ServedSignatures(serving_url, config)
    else:
        signatures = _loaded(model_dir, checkpoint)
    signatures.warm_up()
    return server.application(routes(config, signatures), host, public)


def _loaded(model_dir, checkpoint):
    # Here: with --serving_url nobody waits for TensorFlow.
    from oasis_tf.systems.one_shot.demo.signatures import Signatures
    from oasis_tf.systems.one_shot.loading import load_model

    return Signatures(load_model(model_dir, checkpoint))


def routes(config, signatures):
    """Starlette's routes for a model.

    Args:
        config: `Config`.
        signatures: `Signatures` of a model that is loaded here, or `ServedSignatures`.
    """
    model = config.model
    facts = {
        "origin": signatures.origin,
        "height": model.height,
        "width": model.width,
        # Of classes, by id; none without masks.
        "colours": palette.colours()[: model.num_classes].tolist(),
        "backend": {"url": f"v1/models/{MODEL_NAME}", "own": True},
    }

    async def about(request):
        return JSONResponse(facts)

    return [
        *Predictions(MODEL_NAME, signatures).routes(),
        Route("/model.json", about),
        Mount("/", StaticFiles(packages=pages.folders(__package__), html=True)),
    ]

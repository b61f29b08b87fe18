"""What demos of models share that generate from seeds: the application, and a served model."""

from starlette.responses import JSONResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from oasis_tf.web import pages, server
from oasis_tf.web.predictions import Predictions
from oasis_tf.web.serving import TensorFlowServing


def check_no_examples(example_path, system):
    """Raises ValueError if there are examples: nothing is drawn here."""
    if example_path:
        raise ValueError(
            "`examples` are for systems that generate from label maps. Received: "
            f"examples={example_path} for a model of {system}. Leave --examples out."
        )


def application(package, name, signatures, facts, host=None, public=None):
    """The application of a model, which it warms up.

    Args:
        package: of the page, as in `pages.folders`.
        name: of the model, in its address.
        signatures: as `Predictions` takes them, with `origin` and `warm_up`.
        facts: dict, what the page must know of the model; `origin` and `backend` are added.
        host, public: as in `server.application`.
    """
    signatures.warm_up()
    facts = facts | {
        "origin": signatures.origin,
        "backend": {"url": f"v1/models/{name}", "own": True},
    }

    async def about(request):
        return JSONResponse(facts)

    routes = [
        *Predictions(name, signatures).routes(),
        Route("/model.json", about),
        Mount("/", StaticFiles(packages=pages.folders(package), html=True)),
    ]
    return server.application(routes, host, public)


class ServedSampler(TensorFlowServing):
    """A model in TensorFlow Serving that generates pictures of one size.

    Args:
        url, known, outputs: as of `TensorFlowServing`.
        size: (height, width) of the pictures.
        example: inputs of the first signature of `known`.

    Raises:
        Unavailable, ValueError: as `TensorFlowServing`.
    """

    def __init__(self, url, known, outputs, size, example):
        super().__init__(url, known, outputs, size[0] * size[1])
        self._size, self._example = size, example

    def warm_up(self):
        """Requests one image, for the first one is slow.

        Raises:
            ValueError: the model is not the one of the config.
        """
        contents = self(next(iter(self.kinds)), self._example)["image_bytes"]
        self.check_picture(contents, *self._size)

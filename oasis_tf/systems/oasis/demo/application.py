"""The demo of a model directory: the page, its facts, and the files that visitors upload.

Predictions come from the model loaded in this process, or from TensorFlow Serving. In both cases
the page and uploads are served from here, so that the page asks no other host. What a visitor draws
stays in the page.
"""

import functools

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from oasis_tf import pretrained
from oasis_tf.systems.oasis.config import Config
from oasis_tf.systems.oasis.demo import contract, examples, uploads
from oasis_tf.systems.oasis.demo.served import ServedSignatures
from oasis_tf.web import pages, requests, rest, server
from oasis_tf.web.pictures import encode_png
from oasis_tf.web.predictions import Predictions
from oasis_tf.web.turns import Turns

MODEL_NAME = "oasis"


def application(
    model_dir, *, checkpoint=None, serving_url=None, example_path=None, host=None, public=None
):
    """The application of a model directory, its model warmed up; see `oasis_tf/demo.py`.

    Args:
        model_dir: model directory.
        checkpoint: as in `OASIS.load`.
        serving_url: of the model in TensorFlow Serving; then only config.json is read here.
        example_path: label PNG or folder of them to begin with; default: those in the folder
            `examples` of the model directory, or validation labels of the data trained on.
        host, public: as in `server.application`.

    Raises:
        ValueError, OSError: not a model directory, a served model that does not fit, or unreadable
            examples.
    """
    config = Config.load(model_dir)
    size = config.data.crop_height, config.data.crop_width
    example_path = example_path or pretrained.examples(model_dir)
    if example_path:
        found = examples.from_folder(example_path, config.label_space, *size)
    else:
        found = examples.from_data(config.data.data_dir, config.label_space, *size)
    if serving_url:
        signatures = ServedSignatures(serving_url, config)
    else:
        signatures = _loaded(model_dir, checkpoint)
    signatures.warm_up()
    return server.application(Demo(config.label_space, signatures, found).routes(), host, public)


def _loaded(model_dir, checkpoint):
    from oasis_tf import OASIS  # here: with --serving_url nobody waits for TensorFlow
    from oasis_tf.systems.oasis.demo.signatures import Signatures

    return Signatures(OASIS.load(model_dir, checkpoint))


class Demo:
    """The endpoints for one model.

    Args:
        label_space: `LabelSpace` of the model.
        signatures: `Signatures` of a model that is loaded here, or `ServedSignatures`.
        found: examples, list of (name, integers [H, W] in model ids).
    """

    def __init__(self, label_space, signatures, found=()):
        self._space, self._signatures = label_space, signatures
        self._size = signatures.height, signatures.width
        self._examples = [(name, encode_png(label_map)) for name, label_map in found]
        self._facts = self._described()
        self._decoding = Turns()

    def routes(self):
        """Starlette's routes."""
        return [
            *Predictions(MODEL_NAME, self._signatures).routes(),
            Route("/model.json", self._model),
            Route("/api/examples/{number:int}", self._example),
            Route("/api/labels", self._labels, methods=["POST"]),
            Route("/api/photograph", self._photograph, methods=["POST"]),
            Mount("/", StaticFiles(packages=pages.folders(__package__), html=True)),
        ]

    def _described(self):
        return contract.facts(self._space) | {
            "origin": self._signatures.origin,
            "height": self._signatures.height,
            "width": self._signatures.width,
            # Of noise that the page can edit.
            "noise_channels": self._signatures.noise_channels,
            "backend": {"kind": "rest", "url": f"v1/models/{MODEL_NAME}", "own": True},
            "reader": "server",
            "max_upload": requests.MAX_UPLOAD,
            "examples": [
                {"name": name, "url": f"api/examples/{number}"}
                for number, (name, _) in enumerate(self._examples)
            ],
        }

    async def _model(self, request):
        return JSONResponse(self._facts)

    async def _example(self, request):
        number = request.path_params["number"]
        if number >= len(self._examples):
            raise HTTPException(404, f"There are {len(self._examples)} examples.")
        return Response(self._examples[number][1], media_type="image/png")

    async def _labels(self, request):
        read = functools.partial(uploads.label_map, label_space=self._space)
        return await self._uploaded(request, "label_map_bytes", read)

    async def _photograph(self, request):
        return await self._uploaded(request, "image_bytes", uploads.photograph)

    async def _uploaded(self, request, name, read):
        height, width = self._size
        async with requests.body(request, requests.MAX_UPLOAD) as contents:
            work = functools.partial(read, contents, height=height, width=width)
            answer = self._decoding.run([work], request.state.address)
            ((picture, (height, width)),) = await requests.while_there(request, answer)
        return JSONResponse({name: rest.as_b64(picture), "height": height, "width": width})

"""What demos of models share that generate from seeds: application, loaded and served models."""

import dataclasses
from collections.abc import Callable
from typing import Any

from starlette.responses import JSONResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from oasis_tf import pretrained
from oasis_tf.web import pages, server
from oasis_tf.web.predictions import Predictions
from oasis_tf.web.serving import TensorFlowServing


@dataclasses.dataclass(frozen=True)
class SamplerDemo:
    """The demo of a system.

    Predictions come from the model loaded in this process, or from TensorFlow Serving. In both
    cases the browser asks this server alone.

    Attributes:
        package: of the page, as in `pages.folders`.
        config: class of the configuration. Its `SYSTEM` names the model in addresses.
        contract: module with `KINDS` and `EXAMPLE`, the inputs of the first of them.
        outputs: function of a config: the outputs of every signature.
        facts: function of a config: a dict of what the page must know, with `height` and `width`.
        load: function of model directory and checkpoint: `LoadedSampler`. It imports TensorFlow, so
            that nobody waits for it whose model is served.
    """

    package: str
    config: type
    contract: Any
    outputs: Callable
    facts: Callable
    load: Callable

    def application(
        self,
        model_dir,
        *,
        checkpoint=None,
        serving_url=None,
        example_path=None,
        host=None,
        public=None,
    ):
        """The application of a model directory, its model warmed up; see `oasis_tf/demo.py`.

        Args:
            model_dir: model directory.
            checkpoint: as in `oasis_tf.load`.
            serving_url: of the model in TensorFlow Serving; then only config.json is read here.
            example_path: must be None: nothing is drawn here.
            host, public: as in `server.application`.

        Raises:
            ValueError, OSError: not a model directory, a served model that does not fit, or
                examples.
        """
        name = self.config.SYSTEM
        if example_path:
            raise ValueError(
                "`examples` are for systems that generate from label maps. Received: "
                f"examples={example_path} for a model of {name}. Leave --examples out."
            )
        config = self.config.load(pretrained.find(model_dir))
        if serving_url:
            signatures = self.served(serving_url, config)
        else:
            signatures = self.load(model_dir, checkpoint)
        signatures.warm_up()
        facts = self.facts(config) | {
            "origin": signatures.origin,
            "backend": {"url": f"v1/models/{name}", "own": True},
        }

        async def about(request):
            return JSONResponse(facts)

        routes = [
            *Predictions(name, signatures).routes(),
            Route("/model.json", about),
            Mount("/", StaticFiles(packages=pages.folders(self.package), html=True)),
        ]
        return server.application(routes, host, public)

    def served(self, url, config):
        """The `ServedSampler` of a model with a config in TensorFlow Serving.

        Raises:
            Unavailable, ValueError: as `TensorFlowServing`.
        """
        facts = self.facts(config)
        size = facts["height"], facts["width"]
        contract = self.contract
        return ServedSampler(url, contract.KINDS, self.outputs(config), size, contract.EXAMPLE)


class LoadedSampler:
    """A model in this process; calling it answers a signature, as of `Predictions`.

    Args:
        model: the model for use, with its `step`.
        contract: as of `SamplerDemo`.

    Attributes:
        kinds: those of the contract.
        version, origin: the model's step, and a text for people about it.
    """

    def __init__(self, model, contract):
        self._model, self._example = model, contract.EXAMPLE
        self.kinds = contract.KINDS
        self.version = int(model.step.numpy())
        self.origin = f"step {self.version}"

    def warm_up(self):
        """Generates once, so that the first visitor does not wait for graphs to be traced."""
        self(next(iter(self.kinds)), self._example)


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

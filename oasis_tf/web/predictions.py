"""Endpoints of a model in TensorFlow Serving's REST form."""

import asyncio
import functools
import time

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.routing import Route

from oasis_tf.web import requests, rest
from oasis_tf.web.turns import Turns

_CLIENT_HEADER, _MOST_CLIENT_LETTERS = "x-client", 64


class Predictions:
    """Answers for one model, one row at a time.

    Args:
        name: of the model, in `/v1/models/NAME`.
        signatures: the model: function(signature name, dict of inputs) -> dict of outputs, all of
            them bytes, with the attributes `kinds` (as `rest.parse` reads them) and `version`.
    """

    def __init__(self, name, signatures):
        self._name, self._signatures = name, signatures
        self._turns = Turns()

    def routes(self):
        """Starlette's routes."""
        return [
            Route("/v1/models/{path:path}", self._predict, methods=["POST"]),
            Route("/v1/models/{path:path}", self._about, methods=["GET"]),
        ]

    async def _predict(self, request):
        name, verb = rest.split_path(request.path_params["path"])
        if name != self._name or verb != ":predict":
            raise HTTPException(404, f"The model is /v1/models/{self._name}:predict.")
        client = request.headers.get(_CLIENT_HEADER, "")[:_MOST_CLIENT_LETTERS] or None
        async with requests.body(request, requests.MAX_REQUEST) as body:
            signature, rows = await asyncio.to_thread(rest.parse, body, self._signatures.kinds)
            works = [functools.partial(self._work, signature, inputs) for inputs in rows]
            answer = self._turns.run(works, request.state.address, client)
            outputs, seconds = zip(*await requests.while_there(request, answer), strict=True)
        timing = {"Server-Timing": f"model;dur={1000 * sum(seconds):.1f}"}
        return JSONResponse(rest.predictions(outputs), headers=timing)

    def _work(self, signature, inputs):
        start = time.perf_counter()
        outputs = self._signatures(signature, inputs)
        return outputs, time.perf_counter() - start

    async def _about(self, request):
        name, verb = rest.split_path(request.path_params["path"])
        if name != self._name or verb == ":predict":
            raise HTTPException(404, f"There is GET /v1/models/{self._name} and …/metadata.")
        if verb:
            kinds, version = self._signatures.kinds, self._signatures.version
            return JSONResponse(rest.metadata(self._name, version, kinds))
        return JSONResponse(rest.status(self._signatures.version))

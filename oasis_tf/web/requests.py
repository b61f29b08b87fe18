"""Bodies of requests within bounds, and clients that leave."""

import asyncio
import contextlib

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from oasis_tf.web.turns import Superseded

MAX_REQUEST = 2**23  # bytes
MAX_UPLOAD = 25 * 2**20
MOST_BYTES = 2**28  # of all bodies that are read or waited with; half of it for one address
READ_SECONDS = 30
_CLOSE = {"Connection": "close"}  # the rest of the body is not read


@contextlib.asynccontextmanager
async def body(request, limit):
    """Gives the bytes of a Starlette request; they count until the block ends.

    Raises:
        HTTPException: more than `limit` bytes, announced or not, more than `READ_SECONDS`,
            compressed, or the request ended early.
        Busy: all bodies together have too many bytes.
    """
    encoding = request.headers.get("content-encoding", "identity")
    if encoding != "identity":
        raise HTTPException(415, f"A request must not be compressed. Received: {encoding[:20]}.")
    with request.app.state.bodies.part(request.state.address) as take:
        yield await _read(request, limit, take)


async def _read(request, limit, take):
    too_large = HTTPException(413, f"A request may have {limit / 2**20:g} MB at most.", _CLOSE)
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced[:20]) > limit:
        raise too_large
    received = bytearray()
    try:
        async with asyncio.timeout(READ_SECONDS):
            async for part in request.stream():
                take(len(part))
                received += part
                if len(received) > limit:
                    raise too_large
    except TimeoutError as error:
        message = f"The request took longer than {READ_SECONDS} s."
        raise HTTPException(408, message, _CLOSE) from error
    except ClientDisconnect as error:
        raise HTTPException(400, "The request ended early.") from error
    return bytes(received)


async def while_there(request, answer):
    """What a coroutine returns; it is cancelled if the client of the request leaves before.

    Raises:
        Superseded: the client has left.
    """
    work = asyncio.ensure_future(answer)
    left = asyncio.ensure_future(_left(request.receive))
    try:
        await asyncio.wait({work, left}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise Superseded
        return work.result()
    finally:
        work.cancel()
        left.cancel()


async def _left(receive):
    while (await receive())["type"] != "http.disconnect":
        pass

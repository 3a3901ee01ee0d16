"""The body of a request -> a file, piece by piece, within the limits; what is cut leaves nothing."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from uniseg.service.refusal import TOO_LARGE, RefusedError
from uniseg.service.settings import GB, ServiceSettings
from uniseg.service.store import Incoming

PIECE = 1 << 20  # bytes that are written at a time
DRAINED = 16 * PIECE  # of a body that is refused, so that a client which only sends reads the answer
SMALL = 1 << 16  # bytes of any other request
CUT = 408
SMALLER = "crop the scan, or ask who runs the service for more"


async def receive(request: Request, path: Path, incoming: Incoming, settings: ServiceSettings) -> None:
    """The whole body into ``path``.

    Raises:
        RefusedError: larger than allowed, cut, or nothing more comes.
    """
    body = _pieces(request, incoming.name, settings.idle_s)
    try:
        _require_size(_stated_length(request), incoming.name, settings)
        with await run_in_threadpool(path.open, "wb") as file:
            async for piece in body:
                _require_size(incoming.num_bytes + len(piece), incoming.name, settings)
                incoming.reserve(len(piece))
                await run_in_threadpool(file.write, piece)
    except RefusedError as error:
        if error.status != CUT:
            await _drain(body)
        raise
    if not incoming.num_bytes:
        raise RefusedError(422, incoming.name, "an empty body", "the bytes of the file", "send the file as the body")


def _stated_length(request: Request) -> int:
    text = request.headers.get("content-length", "0")
    return int(text) if text.isdecimal() else 0


def _require_size(num_bytes: int, name: str, settings: ServiceSettings) -> None:
    if num_bytes > settings.max_upload_bytes:
        expected = f"at most {settings.max_upload_gb:g} GB"
        raise RefusedError(TOO_LARGE, name, f"{num_bytes / GB:.3g} GB or more", expected, SMALLER)


async def _pieces(request: Request, name: str, idle_s: float) -> AsyncIterator[bytes]:
    """Of about one size, however small the parts are in which they come."""
    stream, buffer = request.stream(), bytearray()
    while True:
        try:
            async with asyncio.timeout(idle_s):
                part = await anext(stream, None)
        except ClientDisconnect as error:
            raise RefusedError(CUT, name, "an upload that was cut", "all of it", "upload it again") from error
        except TimeoutError as error:
            raise RefusedError(CUT, name, f"no byte for {idle_s:g} s", "all of it", "upload it again") from error
        if part is None:
            break
        buffer += part
        if len(buffer) >= PIECE:
            yield bytes(buffer)
            buffer.clear()
    if buffer:
        yield bytes(buffer)


async def _drain(body: AsyncIterator[bytes]) -> None:
    left = DRAINED
    try:
        async for piece in body:
            left -= len(piece)
            if left <= 0:
                return
    except RefusedError:
        return


class SmallBodies:
    """Refuses bodies that would be held in memory before they are read; uploads go to the disk by ``receive``.

    Examples:
        >>> app = SmallBodies(app, large=("/uploads",))  # doctest: +SKIP
    """

    def __init__(self, app: ASGIApp, large: tuple[str, ...]) -> None:
        self.app, self.large = app, large

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in self.large:
            headers = dict(scope["headers"])
            length = headers.get(b"content-length", b"0").decode("latin-1")
            if b"transfer-encoding" in headers or not length.isdecimal() or int(length) > SMALL:
                found, fix = "a body that is long or does not say how long", "see /docs"
                refused = RefusedError(TOO_LARGE, "request", found, f"at most {SMALL} bytes", fix)
                await JSONResponse(refused.content, refused.status)(scope, receive, send)
                return
        await self.app(scope, receive, send)

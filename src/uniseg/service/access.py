"""Who may ask: a token in constant time or, without one, programs of this machine alone."""

import ipaddress
import secrets
from collections.abc import Callable
from urllib.parse import urlsplit

from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from uniseg.service.refusal import RefusedError

BEARER = HTTPBearer(auto_error=False)
GIVEN = Depends(BEARER)
TOKEN_BYTES = 24
FIX = "give the token that the service was started with, as Authorization: Bearer <token>"


def is_loopback(host: str) -> bool:
    """Whether only programs of this machine reach it."""
    try:
        return host.lower() == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def chosen_token(token: str | None, host: str) -> str | None:
    """The one that was given; else none on loopback, elsewhere a new one."""
    return token if token is not None or is_loopback(host) else secrets.token_urlsafe(TOKEN_BYTES)


def token_check(token: str | None) -> Callable[..., None]:
    """A dependency of what only those with the token may ask for."""

    def check(given: HTTPAuthorizationCredentials | None = GIVEN) -> None:
        if token is None:
            return
        if given is None:
            raise RefusedError(401, "Authorization", "no token", "the service's token", FIX)
        if not secrets.compare_digest(given.credentials.encode(), token.encode()):
            raise RefusedError(401, "Authorization", "a wrong token", "the service's token", FIX)

    return check


class ThisMachineOnly:
    """Keeps web pages away from a service without a token: a page may send requests to loopback, or pass for it by a
    name server of its own.

    Examples:
        >>> app = ThisMachineOnly(app)  # doctest: +SKIP
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = dict(scope["headers"])
            host = urlsplit(f"//{headers.get(b'host', b'').decode('latin-1')}").hostname or ""
            if b"origin" in headers or not is_loopback(host):
                fix = "start the service with token=..., and send it"
                found = "a request of a web page" if b"origin" in headers else f"the name '{host[:60]}'"
                refused = RefusedError(403, "Host", found, "a program of this machine", fix)
                await JSONResponse(refused.content, refused.status)(scope, receive, send)
                return
        await self.app(scope, receive, send)

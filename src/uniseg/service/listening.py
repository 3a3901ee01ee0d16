"""Where the service listens: a socket of this machine, and uvicorn on it."""

import errno
import socket
from typing import TYPE_CHECKING

from uniseg.errors import InputError

if TYPE_CHECKING:
    from fastapi import FastAPI
    from uvicorn import Server

MOST_CONNECTIONS = 256
FINISH_S = 5  # for answers on their way when the service ends


def bound_socket(host: str, port: int) -> socket.socket:
    """Listening.

    Raises:
        InputError: the address is in use, or none of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen()
    except OSError as error:
        listening.close()
        is_taken = error.errno == errno.EADDRINUSE
        found = "a port that is in use" if is_taken else str(error.strerror or error)
        fix = "choose another port=, 0 for any" if is_taken else "correct host= or port="
        raise InputError(f"{host}:{port}", found, "an address of this machine that is free", fix) from error
    return listening


def make_server(app: "FastAPI") -> "Server":
    """One that lets no client hold up its end."""
    import uvicorn

    config = uvicorn.Config(
        app,
        log_config=None,
        log_level="warning",
        access_log=False,
        ws="none",
        server_header=False,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_graceful_shutdown=FINISH_S,
    )
    return uvicorn.Server(config)

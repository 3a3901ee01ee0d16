"""``python -m uniseg.serve``: a network over HTTP, for programs and people."""

if __name__ == "__main__":  # before the imports of the work, which --help does without
    from uniseg.commands.app import run_and_exit

    run_and_exit("serve")

import sys
from importlib.util import find_spec
from socket import socket

from omegaconf import DictConfig

from uniseg.commands.builders import make_predictor
from uniseg.commands.failures import end_of
from uniseg.commands.structured import settings_from
from uniseg.errors import InputError
from uniseg.service.listening import bound_socket, make_server
from uniseg.service.settings import ServiceSettings
from uniseg.service.store import Store
from uniseg.service.worker import Worker

LIBRARIES = ("fastapi", "uvicorn")
STOP_S = 30.0  # for the windows at hand


def main(config: DictConfig) -> None:
    """Serve until Ctrl-C or SIGTERM.

    Raises:
        InputError: a library is not installed; a bad checkpoint; an address or a folder that is in use.
    """
    for name in LIBRARIES:
        if find_spec(name) is None:
            fix = "pip install 'uniseg[serve]'"
            raise InputError("uniseg serve", f"no {name} installed", "the libraries of the service", fix)
    from uniseg.service.access import chosen_token
    from uniseg.service.api import Service, make_app

    settings = settings_from(ServiceSettings, config)
    with bound_socket(settings.host, settings.port) as listening, Store(settings).opened() as store:
        predictor = make_predictor(config.checkpoint, config.task_files, config.inference, config.postprocessing)
        for line in store.recover():
            say(line)
        worker, token = Worker(predictor, store, describe, say), chosen_token(settings.token, settings.host)
        worker.start()
        try:
            _announce(listening, settings, token)
            make_server(make_app(Service(predictor, store, worker, settings, token))).run(sockets=[listening])
        finally:
            worker.stop(STOP_S)


def say(line: str) -> None:
    """Onto standard output, at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def describe(error: BaseException) -> str | None:
    """One line; None for a bug."""
    end = end_of(error, "predict")
    return None if end is None else end.line.removeprefix("error: ")


def _announce(listening: socket, settings: ServiceSettings, token: str | None) -> None:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    if token is None:
        say("no token: only programs of this machine may ask")
    elif settings.token is None:
        say(f"token: {token}")
    say(f"serving http://{host}:{listening.getsockname()[1]} (its page: /docs)")

"""Keeps the state of the process that a command changes: Hydra's globals, logging, signals, environment, folder."""

import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.singleton import Singleton
from hydra.core.utils import JobRuntime
from omegaconf import DictConfig

from uniseg.commands import local_conf
from uniseg.environment import CONF_DIR

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name)]


@contextmanager
def process_state_kept() -> Iterator[None]:
    """Whatever happens inside, these are afterwards as they were before; inside, Hydra is as in a new process."""
    with ExitStack() as stack:
        for keep in (_hydra_kept, _plugins_kept, _logging_kept, _signals_kept, _environment_kept, _torch_kept):
            stack.enter_context(keep())
        yield


def compose_group(name: str, overrides: Sequence[str] = ()) -> DictConfig:
    """One file of a group, such as ``model/uniseg_small``, composed alone, whatever Hydra is used for besides."""
    with _hydra_kept(), _plugins_kept(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*missing `_self_`")  # which stands in the root's list
        local_conf.register()
        with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
            return compose(name, overrides=list(overrides))


@contextmanager
def _hydra_kept() -> Iterator[None]:
    """Command within command too: a notebook, a test may have Hydra initialised."""
    kinds = (GlobalHydra, HydraConfig, JobRuntime)
    before = {kind: Singleton._instances.pop(kind, None) for kind in kinds}
    store = ConfigStore.instance()
    repo = store.repo
    store.repo = dict(repo)
    try:
        yield
    finally:
        store.repo = repo
        for kind, instance in before.items():
            Singleton._instances.pop(kind, None)
            if instance is not None:
                Singleton._instances[kind] = instance


@contextmanager
def _plugins_kept() -> Iterator[None]:
    plugins = Plugins.instance()
    before = {kind: list(classes) for kind, classes in plugins.plugin_type_to_subclass_list.items()}
    try:
        yield
    finally:
        for kind, classes in plugins.plugin_type_to_subclass_list.items():
            classes[:] = before.get(kind, [])


@contextmanager
def _logging_kept() -> Iterator[None]:
    """Handlers that are there are hidden from ``logging.config``, which would close them."""
    root, known = logging.getLogger(), logging._handlerList  # type: ignore[attr-defined]
    handlers, level, hidden = root.handlers[:], root.level, known[:]
    known.clear()
    try:
        yield
    finally:
        known[:0] = hidden
        for handler in root.handlers:
            if handler not in handlers:
                handler.close()
        root.handlers[:] = handlers
        root.setLevel(level)


@contextmanager
def _signals_kept() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


@contextmanager
def _environment_kept() -> Iterator[None]:
    variables, folder = dict(os.environ), os.getcwd()
    try:
        yield
    finally:
        for name in os.environ.keys() - variables.keys():
            del os.environ[name]
        os.environ.update({name: value for name, value in variables.items() if os.environ.get(name) != value})
        os.chdir(folder)


@contextmanager
def _torch_kept() -> Iterator[None]:
    """Lightning's ``deterministic`` is a switch of the process."""
    loaded = sys.modules.get("torch")
    before = loaded is not None and loaded.are_deterministic_algorithms_enabled()
    try:
        yield
    finally:
        if torch := sys.modules.get("torch"):
            torch.use_deterministic_algorithms(before)

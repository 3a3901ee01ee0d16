"""A command in this process leaves it as it was."""

import logging
import os
import signal
import sys

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.singleton import Singleton
from hydra.plugins.search_path_plugin import SearchPathPlugin

import uniseg.predict
from uniseg.commands.app import run
from uniseg.environment import CONF_DIR

PREDICT = ["predict", "checkpoint=a", "input=b", "output=out", "hydra/job_logging=default"]


def state():
    root = logging.getLogger()
    return {
        "singletons": {kind: Singleton._instances.get(kind) for kind in (GlobalHydra, HydraConfig)},
        "store": dict(ConfigStore.instance().repo),
        "plugins": list(Plugins.instance().discover(SearchPathPlugin)),
        "logging": (root.handlers[:], root.level),
        "signals": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)],
        "environment": dict(os.environ),
        "process": (list(sys.argv), os.getcwd()),
    }


def work(config):
    """What a run changes, and more."""
    assert HydraConfig.get().job.name == "predict"
    assert os.environ["HYDRA_FULL_ERROR"] == "1"
    os.environ["PL_GLOBAL_SEED"] = "7"
    signal.signal(signal.SIGUSR1, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.chdir("/")
    return config.input


@pytest.mark.parametrize("fails", [False, True])
def test_all_is_as_before(tmp_path, monkeypatch, fails):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(uniseg.predict, "main", lambda config: work(config) and (1 / 0 if fails else config.input))
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
    before = state()
    if fails:
        with pytest.raises(ZeroDivisionError):
            run(PREDICT)
    else:
        result = run(PREDICT)
        assert (result.code, result.value, result.line) == (0, "b", "")
    assert state() == before
    assert [path.name for path in tmp_path.rglob("*.log")] == ["predict.log"]


def test_a_log_file_of_the_caller_stays_open(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(uniseg.predict, "main", lambda config: None)
    handler = logging.FileHandler(tmp_path / "mine.txt", mode="w")
    logger = logging.getLogger("mine")
    logger.addHandler(handler)
    try:
        assert run(PREDICT).code == 0
        logger.warning("still here")
    finally:
        logger.removeHandler(handler)
        handler.close()
    assert (tmp_path / "mine.txt").read_text() == "still here\n"


def test_a_command_runs_where_hydra_is_in_use(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(uniseg.predict, "main", lambda config: compose("report").margin)
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        assert run(PREDICT).value == 0.02
        assert compose("report", overrides=["margin=1"]).margin == 1
        result = run(["predict", "inference=nope"])
    assert result.code == 2
    assert capsys.readouterr().err == f"{result.line}\n"

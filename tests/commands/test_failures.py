"""What ends a command: one line with an exit code, or the traceback of a bug."""

import errno
import os
from concurrent.futures.process import BrokenProcessPool

import pytest
import torch
from hydra.errors import ConfigCompositionException, InstantiationException
from hydra.utils import instantiate
from joblib import Parallel, delayed
from joblib.externals.loky.process_executor import TerminatedWorkerError
from lightning.fabric.utilities.exceptions import MisconfigurationException
from omegaconf import OmegaConf
from omegaconf.errors import ConfigAttributeError
from torch.utils.data import DataLoader

from uniseg.commands.failures import Terminated, end_of
from uniseg.errors import InputError

MACHINE = [
    "ENOSPC",
    "EDQUOT",
    "EFBIG",
    "EACCES",
    "EPERM",
    "EROFS",
    "EISDIR",
    "ENOTDIR",
    "EEXIST",
    "ENOENT",
    "ENAMETOOLONG",
    "EMFILE",
    "ENFILE",
    "EIO",
    "ENXIO",
]


def caused(outer, inner):
    outer.__cause__ = inner
    return outer


def line(error, command="train"):
    end = end_of(error, command)
    assert end.code == 2
    assert "\n" not in end.line
    assert end.line.startswith("error: ")
    return end.line


def raised(work):
    try:
        work()
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def test_bad_input_wherever_it_stands():
    error = InputError("scan.nii.gz", "no such file", "a scan", "correct input=")
    assert line(error) == "error: scan.nii.gz: found no such file; expected a scan; correct input="
    assert line(caused(RuntimeError("wrapped"), error)) == line(error)


@pytest.mark.parametrize("name", MACHINE)
def test_what_the_machine_lacks_names_the_file(name):
    number = getattr(errno, name)
    text = line(OSError(number, os.strerror(number), "/data/out.nii.gz"))
    assert text.startswith(f"error: /data/out.nii.gz: found {os.strerror(number)}; expected ")
    assert line(OSError(number, os.strerror(number))).startswith(f"error: train: found {os.strerror(number)}")
    assert "/data/out.nii.gz" in line(
        caused(RuntimeError("x"), OSError(number, os.strerror(number), "/data/out.nii.gz"))
    )


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError(
            "CUDA out of memory. Tried to allocate 20.00 MiB.\nGPU 0 has a total capacity of 79 GiB"
        ),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to"
        ),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        caused(ValueError("could not"), MemoryError()),
    ],
)
def test_too_little_memory_says_what_to_lower(error):
    assert "lower data.batch_size" in line(error)
    assert "lower inference.window_batch or inference.max_memory_gb" in line(error, "predict")
    assert "lower num_workers" in line(error, "prepare")


def test_a_real_allocation_that_fails():
    assert "too little memory" in line(raised(lambda: torch.empty(2**60, dtype=torch.uint8)))


@pytest.mark.parametrize(
    "error",
    [
        TerminatedWorkerError("A worker process managed by the executor was unexpectedly terminated."),
        BrokenProcessPool("A process in the process pool was terminated abruptly"),
        RuntimeError("DataLoader worker (pid(s) 4711) exited unexpectedly"),
        RuntimeError("DataLoader worker (pid 4711) is killed by signal: Killed. "),
        RuntimeError("DataLoader worker (pid 4711) is killed by signal: Bus error. It is possible that"),
    ],
)
def test_a_killed_worker(error):
    assert "a worker process that was killed" in line(error, "prepare")


def test_a_real_worker_that_is_killed():
    def work():
        Parallel(n_jobs=2, backend="loky")(delayed(os._exit)(9) for _ in range(2))

    assert "a worker process that was killed" in line(raised(work), "prepare")


class FullDisk(torch.utils.data.Dataset):
    def __len__(self):
        return 1

    def __getitem__(self, index):
        raise OSError(errno.EIO, "Input/output error", "/cache/a.b2")


def test_an_error_out_of_a_reader_process_is_one_short_line():
    text = line(raised(lambda: next(iter(DataLoader(FullDisk(), num_workers=1)))))
    assert "/cache/a.b2" in text
    assert "Traceback" not in text


def test_training_that_fails():
    assert "optimizer.lr" in line(FloatingPointError("train/loss is nan in epoch 3: lower optimizer.lr"))
    assert (
        line(MisconfigurationException("No supported gpu backend found!")) == "error: No supported gpu backend found!"
    )


def test_a_wrong_configuration():
    missing = raised(lambda: OmegaConf.create({"a": {"b": "???"}}).a.b)
    assert line(missing) == "error: a.b: found no value; expected one; give a.b=..."
    assert line(
        caused(
            ConfigCompositionException("Error merging override data.batch_size=a"), ConfigAttributeError("not a number")
        )
    ).endswith("data.batch_size=a: not a number")


@pytest.mark.parametrize(
    ("target", "values", "reason"),
    [
        (
            "torch.nn.Conv3d",
            {"in_channels": 1, "out_channels": 3, "kernel_size": 1, "groups": 2},
            "divisible by groups",
        ),
        ("torch.nn.Conv3d", {"nonsense": 1}, "nonsense"),
        ("torch.nonsense", {}, "Error loading 'torch.nonsense'"),
        ("lightning.Trainer", {"accelerator": "gpu", "logger": False}, "gpu"),
        ("lightning.Trainer", {"accelerator": "cpu", "devices": [3], "logger": False}, "devices"),
    ],
)
def test_a_constructor_that_refuses_values_names_the_key(target, values, reason, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    config = OmegaConf.create({"part": {"_target_": target, **values}})
    text = line(raised(lambda: instantiate(config.part)))
    assert text.startswith("error: part: found settings that it refuses (")
    assert reason in text


def test_a_constructor_that_fails_otherwise_is_a_bug():
    assert (
        end_of(
            caused(InstantiationException("Error in call to target 'x'\nfull_key: model"), KeyError("ours")), "train"
        )
        is None
    )


def test_a_partial_class_that_refuses_its_values_later():
    config = OmegaConf.create({"optimizer": {"_target_": "torch.optim.SGD", "_partial_": True, "lr": -1}})
    make = instantiate(config.optimizer)
    assert "optimizer: found settings that it refuses (Invalid learning rate" in line(
        raised(lambda: make([torch.nn.Parameter(torch.zeros(1))]))
    )


@pytest.mark.parametrize(
    "kind",
    [ValueError, AttributeError, TypeError, KeyError, IndexError, RuntimeError, AssertionError, ZeroDivisionError],
)
def test_a_bug_keeps_its_traceback(kind):
    assert end_of(kind("ours"), "train") is None
    assert end_of(kind("ours"), "train", composing=True) is None


def test_signals():
    assert (end_of(KeyboardInterrupt(), "predict").code, end_of(KeyboardInterrupt(), "predict").line) == (
        130,
        "interrupted",
    )
    assert end_of(Terminated(), "predict").code == 143
    assert end_of(SystemExit(0), "predict") is None

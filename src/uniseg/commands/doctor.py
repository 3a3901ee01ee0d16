"""Looks at the machine: versions, device, memory, folders, and what would go wrong."""

import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from uniseg.commands.catalogue import Catalogue
from uniseg.environment import CONF_DIR, LOCAL_CONF, PACKAGE_DIR, uniseg_version

LIBRARIES = ("torch", "lightning", "monai", "hydra-core", "numpy", "nibabel", "SimpleITK", "pydicom", "blosc2")
GB = 10**9
LEAST_MEMORY_GB, LEAST_DISK_GB, LEAST_SHARED_GB, LEAST_FILES = 8, 20, 1, 1024


@dataclass(frozen=True)
class Finding:
    """One line of the doctor.

    Attributes:
        what: was looked at.
        found: there.
        advice: what to do; empty where all is well.

    Examples:
        >>> str(Finding("memory", "4.0 GB", "8 GB or more"))
        '! memory: 4.0 GB; 8 GB or more'
    """

    what: str
    found: str
    advice: str = ""

    def __str__(self) -> str:
        return f"{'!' if self.advice else ' '} {self.what}: {self.found}{f'; {self.advice}' if self.advice else ''}"


def findings() -> Iterator[Finding]:
    """All that can be seen without a task."""
    yield from _versions()
    yield _device()
    yield from _memory()
    if CONF_DIR.is_dir():
        yield from _folders()


def _versions() -> Iterator[Finding]:
    installed = "" if _version("uniseg") else ", from a checkout that is not installed"
    yield Finding("uniseg", f"{uniseg_version()} in {PACKAGE_DIR}{installed}")
    yield Finding("python", f"{platform.python_version()}, {platform.system()} {platform.machine()}")
    versions = {name: _version(name) for name in LIBRARIES}
    missing = [name for name, version in versions.items() if version is None]
    yield Finding("libraries", ", ".join(f"{name} {version}" for name, version in versions.items() if version))
    if missing:
        yield Finding("libraries that lack", ", ".join(missing), f"pip install {' '.join(missing)}")
    if not CONF_DIR.is_dir():
        yield Finding("configuration", f"no folder {CONF_DIR}", "install uniseg again")


def _device() -> Finding:
    import torch

    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        found = f"{torch.cuda.get_device_name()}, {free / GB:.1f} of {total / GB:.1f} GB free"
        advice = "another process holds most of its memory" if free < total / 2 else ""
        return Finding("device", found, advice)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found = f"no GPU that torch {torch.__version__} can use, {cores} cores"
    if torch.version.cuda is not None and shutil.which("nvidia-smi"):
        return Finding("device", found, f"its driver is older than CUDA {torch.version.cuda}: look at nvidia-smi")
    return Finding("device", found)


def _memory() -> Iterator[Finding]:
    free = _available_bytes()
    if free is not None:
        short = free < LEAST_MEMORY_GB * GB
        advice = "lower inference.max_memory_gb, data.batch_size and num_workers" if short else ""
        yield Finding("memory", f"{free / GB:.1f} GB free", advice)
    shared = Path("/dev/shm")
    if shared.is_dir() and (size := shutil.disk_usage(shared).free) < LEAST_SHARED_GB * GB:
        yield Finding("shared memory", f"{size / GB:.2f} GB in {shared}", "data.num_workers=0, or docker --shm-size=8g")
    if os.name == "posix" and (files := os.sysconf("SC_OPEN_MAX")) < LEAST_FILES:
        yield Finding("open files", f"at most {files}", f"ulimit -n {LEAST_FILES}")


def _folders() -> Iterator[Finding]:
    from uniseg.cache.store import prepared_folders

    try:
        data, cache, outputs = _configured("data", "cache", "outputs")
    except OmegaConfBaseException as error:
        yield Finding("folders", str(error).splitlines()[0], "correct conf/paths/default.yaml")
        return
    if data.is_dir():
        yield Finding("data folder", f"{data.absolute()}, {sum(1 for each in data.iterdir() if each.is_dir())} folders")
    else:
        advice = "give paths.data=<folder>, or set UNISEG_DATA; experiment=demo needs none"
        yield Finding("data folder", f"no {data.absolute()}", advice)
    yield _task_files()
    tasks = [folder.name for folder in prepared_folders(cache)]
    if tasks:
        yield Finding("cache", f"{cache.absolute()} with {', '.join(tasks)}")
    else:
        yield Finding(
            "cache", f"none in {cache.absolute()}", "uniseg prepare makes it; paths.cache=<folder> names another"
        )
    above = next(folder for folder in (outputs.absolute(), *outputs.absolute().parents) if folder.exists())
    if not os.access(above, os.W_OK):
        yield Finding("outputs", f"{above} cannot be written to", "start elsewhere, or give paths.outputs=<folder>")
    free = shutil.disk_usage(above).free
    short = "a cache takes about as much as its scans: make room" if free < LEAST_DISK_GB * GB else ""
    yield Finding("disk", f"{free / GB:.1f} GB free under {above}", short)


def _configured(*names: str) -> list[Path]:
    """Folders of ``conf/paths``, or of a user's own."""
    keys = [key for key in Catalogue("train").keys.values() if key.group == "paths"]
    config = OmegaConf.from_dotlist([f"{key.name}={key.value}" for key in keys])
    values = [OmegaConf.select(config, f"paths.{name}") for name in names]
    if None in values:
        raise OmegaConfBaseException(f"no paths.{names[values.index(None)]}")
    return [Path(value) for value in values]


def _task_files() -> Finding:
    """Those of ``./conf/task``, where that is not the packaged folder."""
    folder = LOCAL_CONF / "task"
    is_own = folder.is_dir() and not folder.samefile(CONF_DIR / "task")
    names = sorted(path.stem for path in folder.glob("*.yaml")) if is_own else []
    broken = [
        name for name in names if not any(k.startswith("tasks.") for k in Catalogue("train", [f"task={name}"]).keys)
    ]
    if broken:
        return Finding("own task files", f"{', '.join(broken)} describe no task", "uniseg prepare task=[...] says why")
    return Finding("own task files", f"{', '.join(names) or 'none'} in {folder.absolute()}")


def _available_bytes() -> int | None:
    """What the system and, in a container, its limit leave."""
    known = []
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        known += [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")]
        limit, used = (Path(f"/sys/fs/cgroup/memory.{name}").read_text().strip() for name in ("max", "current"))
        known += [int(limit) - int(used)] if limit != "max" else []
    except (OSError, ValueError):
        pass
    return min(known) if known else None


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None

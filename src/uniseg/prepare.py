"""``python -m uniseg.prepare``: scans -> cache; somebody's folders -> task files; headers -> a plan."""

if __name__ == "__main__":  # before the imports of the work, which --help does without
    from uniseg.commands.app import run_and_exit

    run_and_exit("prepare")

import sys
from pathlib import Path

from omegaconf import DictConfig

from uniseg.cache.build import audit, prune
from uniseg.commands.builders import require_datasets, sources_of, tasks_of
from uniseg.commands.plan import plan_experiment
from uniseg.commands.prepared import prepare_tasks, write_phantoms
from uniseg.datasets.dataset import find_datasets
from uniseg.datasets.import_nnunet import import_nnunet_datasets
from uniseg.datasets.unpack import unpack
from uniseg.environment import LOCAL_CONF
from uniseg.reporting.overlays import write_preview


def main(config: DictConfig) -> None:
    if config.unpack is not None:
        for archive in [config.unpack] if isinstance(config.unpack, str) else config.unpack:
            folder, number = unpack(archive)
            sys.stderr.write(f"{folder}: {number} files. Next: uniseg prepare task=[...], or import={folder}\n")
        return
    if config["import"] is not None:
        import_nnunet_datasets(config["import"], LOCAL_CONF / "task", config.preprocessed, overwrite=config.overwrite)
        return
    tasks, sources = tasks_of(config), sources_of(config)
    write_phantoms(config)
    require_datasets(sources)
    if config.plan:
        plan_experiment(config, tasks, find_datasets(tasks, sources))
        return
    cache_dir = Path(config.paths.cache)
    if config.audit.only:
        audit(tasks, sources, config.num_workers)
        return
    prepare_tasks(config, cache_dir, config.num_workers)
    for name in tasks.names:
        sys.stderr.write(f"{write_preview(cache_dir / name)}\n")
    sys.stderr.write("Next: look at these pictures, then uniseg train with the same experiment= or task=\n")
    leftovers = prune(cache_dir, tasks.names, remove=config.prune)
    if leftovers:
        sys.stderr.write(f"{leftovers}\n")

"""``python -m uniseg.prepare``: scans -> cache; somebody's folders -> task files; headers -> a plan."""

if __name__ == "__main__":  # before the imports of the work, which --help does without
    from uniseg.commands.app import run_and_exit

    run_and_exit("prepare")

import sys
from pathlib import Path

from omegaconf import DictConfig

from uniseg.cache.build import audit, prepare, prune
from uniseg.commands.builders import require_datasets, sources_of, tasks_of
from uniseg.commands.plan import plan_experiment
from uniseg.commands.structured import settings_from
from uniseg.datasets.dataset import find_datasets
from uniseg.datasets.import_nnunet import import_nnunet_datasets
from uniseg.environment import LOCAL_CONF
from uniseg.phantom.suite import PhantomSettings, write_suite
from uniseg.reporting.overlays import write_preview


def main(config: DictConfig) -> None:
    if config["import"] is not None:
        import_nnunet_datasets(config["import"], LOCAL_CONF / "task", config.preprocessed, overwrite=config.overwrite)
        return
    tasks, sources = tasks_of(config), sources_of(config)
    if config.phantom is not None:
        write_suite(Path(config.paths.phantoms), settings_from(PhantomSettings, config.phantom))
    require_datasets(sources)
    if config.plan:
        plan_experiment(config, tasks, find_datasets(tasks, sources))
        return
    cache_dir = Path(config.paths.cache)
    datasets = audit(tasks, sources, config.num_workers, None if config.audit.only else cache_dir)
    if config.audit.only:
        return
    prepare(datasets, cache_dir, config.num_workers)
    for name in tasks.names:
        sys.stderr.write(f"{write_preview(cache_dir / name)}\n")
    leftovers = prune(cache_dir, tasks.names, remove=config.prune)
    if leftovers:
        sys.stderr.write(f"{leftovers}\n")

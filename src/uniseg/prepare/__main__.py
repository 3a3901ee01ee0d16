"""``python -m uniseg.prepare``: scans -> cache, or somebody's folders -> task files."""

import sys
from pathlib import Path

from omegaconf import DictConfig

from uniseg.cli import LOCAL_CONF, entry_point, require_datasets, sources_of, tasks_of
from uniseg.prepare.importer import import_datasets
from uniseg.prepare.pipeline import audit, prepare, prune
from uniseg.report.preview import write_preview
from uniseg.scans.phantom import write_suite


@entry_point("prepare")
def main(config: DictConfig) -> None:
    if config["import"] is not None:
        preprocessed = Path(config.preprocessed) if config.preprocessed is not None else None
        import_datasets(Path(config["import"]), preprocessed, LOCAL_CONF / "task", overwrite=config.overwrite)
        return
    tasks, sources = tasks_of(config), sources_of(config)
    if config.phantom is not None:
        write_suite(Path(config.paths.phantoms), seed=config.phantom.seed, num_cases=config.phantom.num_cases, shared_style=config.phantom.shared_style)
    require_datasets(sources)
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


if __name__ == "__main__":
    main()

"""``python -m uniseg.prepare``: scans -> cache."""

from pathlib import Path

from omegaconf import DictConfig

from uniseg.cli import entry_point, require_datasets, sources_of, tasks_of
from uniseg.prepare.pipeline import find_datasets, prepare
from uniseg.scans.phantom import write_suite


@entry_point("prepare")
def main(config: DictConfig) -> None:
    tasks, sources = tasks_of(config), sources_of(config)
    if config.phantom is not None:
        write_suite(Path(config.paths.phantoms), seed=config.phantom.seed, num_cases=config.phantom.num_cases, shared_style=config.phantom.shared_style)
    require_datasets(sources)
    prepare(find_datasets(tasks, sources), Path(config.paths.cache), config.num_workers)


if __name__ == "__main__":
    main()

"""``python -m uniseg.train``: cache -> checkpoint."""

import sys
from pathlib import Path

from hydra.utils import instantiate
from lightning import Trainer, seed_everything
from lightning.pytorch.utilities.exceptions import SIGTERMException
from omegaconf import DictConfig, OmegaConf

from uniseg.cli import entry_point, require_datasets, sources_of, tasks_of
from uniseg.scans.source import Source
from uniseg.stream.datamodule import MultiDatasetModule
from uniseg.training.callbacks import FiniteLoss, StreamPosition
from uniseg.training.segmentation import SegmentationModule
from uniseg.training.upstream import UpstreamModule
from uniseg.weights.checkpoint import read_checkpoint

TERMINATED, INTERRUPTED = 143, 130  # what a shell reports for SIGTERM, SIGINT


def train(config: DictConfig) -> Trainer:
    """One run, start to end.

    Raises:
        InputError: data that is missing or not prepared, a checkpoint that does not fit.
    """
    tasks, sources = tasks_of(config), sources_of(config)
    require_datasets(sources, Path(config.paths.cache))
    seed_everything(config.seed, workers=True, verbose=False)
    run_dir = Path(config.run_dir)
    ckpt_path = _checkpoint(config.ckpt_path, run_dir)
    data = MultiDatasetModule(
        tasks.names,
        **OmegaConf.to_container(config.data, resolve=True),
        cache_dir=Path(config.paths.cache),
        recipe=instantiate(config.augment, _convert_="all"),
        seed=config.seed,
    )
    module = build_module(config, data, sources)
    trainer: Trainer = instantiate(
        config.trainer,
        default_root_dir=str(run_dir),
        callbacks=[StreamPosition(), FiniteLoss(), *instantiate(config.callbacks).values()],
        logger=list(instantiate(config.logger).values()),
        _convert_="all",
    )
    run_dir.mkdir(parents=True, exist_ok=True)
    (run_dir / "config.yaml").write_text(OmegaConf.to_yaml(config, resolve=True))
    trainer.fit(module, datamodule=data, ckpt_path=ckpt_path, weights_only=True)
    return trainer


def build_module(config: DictConfig, data: MultiDatasetModule, sources: dict[str, Source]) -> SegmentationModule:
    """The network with its loss and optimiser, as the configuration says."""
    facts = {
        name: {"licence": sources[name].licence, "homepage": sources[name].homepage, **{side: list(split[side]) for side in ("train", "dev", "test")}}
        for name, split in data.splits.items()
    }
    return UpstreamModule(
        instantiate(config.model, _convert_="all")(data.tasks, patch_size=data.patch_size),
        loss=instantiate(config.loss),
        optimizer=instantiate(config.optimizer, _convert_="all"),
        scheduler=instantiate(config.scheduler, _convert_="all"),
        data_facts=facts,
    )


def _checkpoint(wanted: str | None, run_dir: Path) -> Path | None:
    if wanted is None:
        return None
    path = run_dir / "checkpoints" / "last.ckpt" if wanted == "last" else Path(wanted)
    read_checkpoint(path)
    return path


@entry_point("train")
def main(config: DictConfig) -> float:
    try:
        trainer = train(config)
    except SIGTERMException:
        sys.exit(TERMINATED)
    except SystemExit as stop:  # Lightning's answer to Ctrl-C
        sys.exit(INTERRUPTED if stop.code == 1 else stop.code)
    return float(trainer.callback_metrics["val/pseudo_dice"])


if __name__ == "__main__":
    main()

"""``python -m uniseg.predict``: scans -> label maps in their own grid."""

if __name__ == "__main__":  # before the imports of the work, which --help does without
    from uniseg.commands.app import run_and_exit

    run_and_exit("predict")

import sys

from omegaconf import DictConfig

from uniseg.commands.builders import make_predictor
from uniseg.commands.structured import plain_value
from uniseg.datasets.inputs import require_inputs
from uniseg.inference.case_runner import Outcome
from uniseg.inference.predict_files import predict_cases, require_none_refused


def predict(config: DictConfig) -> list[Outcome]:
    """One label map per scan and task, under ``<output>/<task>/``; with ``merge`` one per scan, under ``merged/``.

    Raises:
        InputError: anything wrong with the input as a whole, the tasks, the checkpoint, the output; what is wrong with
            a scan is in its Outcome.
    """
    given, checkpoint, tasks = map(plain_value, (config.input, config.checkpoint, config.tasks))
    require_inputs(given, config.series)  # before the network is loaded, which takes its time
    predictor = make_predictor(checkpoint, config.task_files, config.inference, config.postprocessing, config.site_file)
    choices = {
        "tasks": tasks,
        "modality": config.modality,
        "merge": config.merge,
        "probabilities": config.probabilities,
        "shard": config.shard,
        "series": config.series,
        "format": config.format,
        "segmentation_type": config.segmentation_type,
    }
    return predict_cases(predictor, given, config.output, **choices)


def main(config: DictConfig) -> None:
    outcomes = predict(config)
    for outcome in outcomes:
        for path in outcome.paths:
            sys.stdout.write(f"{path}\n")
    require_none_refused(outcomes)

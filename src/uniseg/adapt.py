"""``python -m uniseg.adapt``: scans of another site, without labels -> label maps or a site file, with a verdict."""

if __name__ == "__main__":  # before the imports of the work, which --help does without
    from uniseg.commands.app import run_and_exit

    run_and_exit("adapt")

import sys

from omegaconf import DictConfig

from uniseg.adaptation.adapt_files import adapt_files
from uniseg.adaptation.record import AdaptationRecord
from uniseg.adaptation.settings import AdaptSettings
from uniseg.commands.builders import make_predictor
from uniseg.commands.structured import plain_value, settings_from
from uniseg.inference.case_runner import Outcome
from uniseg.inference.predict_files import require_none_refused


def adapt(config: DictConfig) -> tuple[list[Outcome], AdaptationRecord]:
    """A label map per scan and task, ``adapt.json`` and ``adapt.md``; for a site its file.

    Raises:
        InputError: anything wrong with the tasks, the checkpoint, the output; what is wrong with a scan is in its
            Outcome.
    """
    given, checkpoint, tasks = map(plain_value, (config.input, config.checkpoint, config.tasks))
    predictor = make_predictor(checkpoint, config.task_files, config.inference)
    settings = settings_from(AdaptSettings, config)
    choices = {"tasks": tasks, "modality": config.modality, "series": config.series, "reference": config.reference}
    return adapt_files(predictor, given, config.output, settings, **choices)


def main(config: DictConfig) -> None:
    outcomes, record = adapt(config)
    sys.stdout.write(record.text())
    require_none_refused(outcomes)

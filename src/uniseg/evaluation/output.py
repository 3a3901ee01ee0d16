"""The folder that an evaluation writes: looked at before all work, filled at its end."""

from collections.abc import Sequence

from uniseg.errors import InputError
from uniseg.evaluation.case_record import CaseRecord, write_cases
from uniseg.evaluation.records import Score, Summary, write_scores
from uniseg.inference.outputs import ELSEWHERE, require_folder
from uniseg.run_folder import EvaluationFolder

# Name of a file of ours -> what is near its beginning.
BEGINNINGS = {
    "scores": b"task,case_id,",
    "cases": b'"task": ',
    "metrics": b'"mean_dice": ',
    "postprocessing": b'"uniseg postprocessing"',
}
BEGINNING_BYTES = 200


def require_replaceable(output: EvaluationFolder) -> None:
    """Looks at the folder of an evaluation before all work.

    Raises:
        InputError: it cannot be one, or a file lies there that is called as one of ours and is another's.
    """
    require_folder(output.path)
    for name, beginning in BEGINNINGS.items():
        path = getattr(output, name)
        try:
            with path.open("rb") as file:
                begins = file.read(BEGINNING_BYTES)
        except FileNotFoundError:
            continue
        except OSError as error:
            expected = "a file that may be read and replaced"
            raise InputError(path, error.strerror or str(error), expected, ELSEWHERE) from error
        if begins.strip() not in (b"", b"[]") and beginning not in begins:
            raise InputError(path, "a file that uniseg.evaluate did not write", "nothing, or an evaluation", ELSEWHERE)


def write_evaluation(
    output: EvaluationFolder, scores: Sequence[Score], summary: Summary, records: Sequence[CaseRecord] | None = None
) -> None:
    """``scores.csv``, ``metrics.json``, and of a run's cases ``cases.json``."""
    write_scores(scores, output.scores)
    if records is not None:
        write_cases(records, output)
    summary.write(output.metrics)

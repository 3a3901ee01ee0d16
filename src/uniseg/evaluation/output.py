"""The folder that an evaluation writes: looked at before all work, filled at its end."""

from collections.abc import Sequence

from uniseg.errors import InputError
from uniseg.evaluation.case_record import CaseRecord, write_cases
from uniseg.evaluation.records import Score, Summary, write_scores
from uniseg.inference.outputs import ELSEWHERE, require_folder
from uniseg.run_folder import EvaluationFolder

# Name of a file that uniseg writes -> bytes within its first SIGNATURE_BYTES.
SIGNATURES = {
    "scores": b"task,case_id,",
    "cases": b'"task": ',
    "metrics": b'"mean_dice": ',
    "postprocessing": b'"uniseg postprocessing"',
}
SIGNATURE_BYTES = 200


def require_replaceable(output: EvaluationFolder) -> None:
    """Looks at the folder of an evaluation before all work.

    Raises:
        InputError: the folder cannot be written, or a file has the name of an evaluation's file and another content.
    """
    require_folder(output.path)
    for name, signature in SIGNATURES.items():
        path = getattr(output, name)
        try:
            with path.open("rb") as file:
                head = file.read(SIGNATURE_BYTES)
        except FileNotFoundError:
            continue
        except OSError as error:
            expected = "a file that may be read and replaced"
            raise InputError(path, error.strerror or str(error), expected, ELSEWHERE) from error
        if head.strip() not in (b"", b"[]") and signature not in head:
            raise InputError(path, "a file that uniseg.evaluate did not write", "nothing, or an evaluation", ELSEWHERE)


def write_evaluation(
    output: EvaluationFolder, scores: Sequence[Score], summary: Summary, records: Sequence[CaseRecord] | None = None
) -> None:
    """``scores.csv``, ``metrics.json``, and of a run's cases ``cases.json``."""
    write_scores(scores, output.scores)
    if records is not None:
        write_cases(records, output)
    summary.write(output.metrics)

"""What the service is asked and answers, as its OpenAPI page describes it."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from uniseg.images.segments import make_segments
from uniseg.inference.outputs import FORMATS, NIFTI
from uniseg.service.records import AUTO, Job, Upload
from uniseg.service.settings import ServiceSettings
from uniseg.service.worker import Progress
from uniseg.task import Task

NAME = 200  # characters


def _without_examples(schema: dict[str, Any]) -> None:
    schema["description"] = schema.get("description", "").partition("\n\nExamples")[0]


class Described(BaseModel):
    """Whose docstring without its examples is its description.

    Examples:
        >>> Described.model_json_schema()["description"]
        'Whose docstring without its examples is its description.'
    """

    model_config = ConfigDict(json_schema_extra=_without_examples, extra="forbid")


class Health(Described):
    """Whether the service answers.

    Examples:
        >>> Health(uniseg="0.1").status
        'ok'
    """

    status: str = "ok"
    uniseg: str


class ClassAnswer(Described):
    """One class of a task: its label values, the colour that viewers show (red, green, blue, 0 to 255), its code.

    Examples:
        >>> ClassAnswer(name="liver", values=[1], colour=(230, 90, 80), code="10200004 Liver").values
        [1]
    """

    name: str
    values: list[int]
    colour: tuple[int, int, int]
    code: str


class TaskAnswer(Described):
    """One task: what comes in, what goes out.

    Examples:
        >>> TaskAnswer(name="liver", modalities=["CT"], optional=[], spacing_mm=(3, 1, 1), classes=[]).modalities
        ['CT']
    """

    name: str
    modalities: list[str] = Field(description="One image for each, in this order or by these names")
    optional: list[str] = Field(description="Modalities that a scan may lack")
    spacing_mm: tuple[float, float, float] = Field(description="(z, y, x) that the network sees")
    classes: list[ClassAnswer]

    @classmethod
    def of(cls, task: Task) -> "TaskAnswer":
        segments = make_segments(task.classes[1:], task.class_values, task.codes)
        classes = [
            ClassAnswer(name=each.name, values=list(each.values), colour=each.colour, code=each.codes.type)
            for each in segments
        ]
        return cls(
            name=task.name,
            modalities=list(task.modalities),
            optional=list(task.optional),
            spacing_mm=task.spacing_mm,
            classes=classes,
        )


class Limits(Described):
    """What one upload, and the queue, may hold.

    Examples:
        >>> Limits.of(ServiceSettings()).max_waiting
        32
    """

    max_upload_bytes: int
    max_unpacked_bytes: int
    max_files: int
    max_megavoxels: float
    max_waiting: int
    keep_minutes: float

    @classmethod
    def of(cls, settings: ServiceSettings) -> "Limits":
        return cls(**{name: getattr(settings, name) for name in cls.model_fields})


class Network(Described):
    """What the service can do.

    Examples:
        >>> Network(uniseg="0.1", checkpoint="ab", tasks=[], limits=Limits.of(ServiceSettings())).format
        1
    """

    format: int = 1
    uniseg: str
    checkpoint: str = Field(description="Hash of the weights")
    tasks: list[TaskAnswer]
    label_map_formats: list[str] = list(FORMATS)
    limits: Limits


class UploadAnswer(Described):
    """An upload that is whole.

    Examples:
        >>> UploadAnswer.of(Upload("4f", "ct.nii.gz", "scan.nii.gz", 2048, 1.7e9)).name
        'ct.nii.gz'
    """

    id: str
    name: str
    num_bytes: int

    @classmethod
    def of(cls, upload: Upload) -> "UploadAnswer":
        return cls(id=upload.id, name=upload.name, num_bytes=upload.num_bytes)


class JobRequest(Described):
    """What is to be computed: one ``image``, or ``images`` by modality.

    Examples:
        >>> JobRequest(images={"CT": "4f"}).tasks
        ['auto']
    """

    image: str | None = Field(default=None, description="Id of an upload; its modality is guessed", max_length=NAME)
    images: dict[str, str] | None = Field(default=None, description="Modality -> id of an upload")
    tasks: list[str] = Field(default=[AUTO], min_length=1, description="Names, or auto: all that fit the scan")
    series: str | None = Field(default=None, max_length=NAME, description="Of several in a zip: number or UID of one")
    format: str = Field(default=NIFTI, description=f"Of the label maps: {', '.join(FORMATS)}", max_length=NAME)


class ResultAnswer(Described):
    """A label map that may be fetched from ``/jobs/<id>/results/<task>``.

    Examples:
        >>> ResultAnswer(task="liver", ending=".nii.gz", num_bytes=1, values={}, volumes_ml={}).task
        'liver'
    """

    task: str
    ending: str
    num_bytes: int
    values: dict[str, list[int]]
    volumes_ml: dict[str, float]


class JobAnswer(Described):
    """Where a job is.

    Examples:
        >>> job = Job("7c", images=("4f",), tasks=("liver",), created=1.7e9)
        >>> JobAnswer.of(job, Progress("queued", 0.0), position=2).state
        'queued'
    """

    id: str
    state: Literal["queued", "running", "done", "failed", "lost"]
    stage: str
    fraction: float = Field(description="0 to 1")
    position: int = Field(description="Jobs that are done before it")
    tasks: list[str]
    error: str = Field(description="Why it failed or was lost, in one line")
    notes: list[str] = Field(description="What the scan was taken for, what is doubtful about it")
    results: list[ResultAnswer]

    @classmethod
    def of(cls, job: Job, progress: Progress, position: int) -> "JobAnswer":
        results = [
            ResultAnswer(**{name: getattr(result, name) for name in ResultAnswer.model_fields})
            for result in job.results
        ]
        return cls(
            id=job.id,
            state=job.state,  # type: ignore[arg-type]
            stage=progress.stage,
            fraction=round(progress.fraction, 3),
            position=position,
            tasks=[result.task for result in job.results] or list(job.tasks),
            error=job.error,
            notes=list(job.notes),
            results=results,
        )


class ErrorAnswer(Described):
    """Why a request is not done.

    Examples:
        >>> ErrorAnswer(error="scan.nii.gz: found ...", found="", expected="", fix="").error
        'scan.nii.gz: found ...'
    """

    error: str = Field(description="All of it in one line")
    found: str
    expected: str
    fix: str

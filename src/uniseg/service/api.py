"""The addresses of the service: what each takes and answers."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from uniseg.environment import uniseg_version
from uniseg.inference.outputs import FORMATS
from uniseg.inference.predictor import Predictor
from uniseg.service import intake, uniseg_client
from uniseg.service.access import ThisMachineOnly, token_check
from uniseg.service.answers import (
    ErrorAnswer,
    Health,
    JobAnswer,
    JobRequest,
    Limits,
    Network,
    TaskAnswer,
    UploadAnswer,
)
from uniseg.service.docs_page import as_page
from uniseg.service.receiving import SmallBodies, receive
from uniseg.service.records import AUTO, Job
from uniseg.service.refusal import BUSY, FULL, NAMED, UNUSABLE, RefusedError
from uniseg.service.settings import ServiceSettings
from uniseg.service.store import Store
from uniseg.service.worker import Worker

EXPIRY_S = 5.0  # between two looks at what is kept long enough
LOOK_S = 0.05  # between two looks at a job that a client waits for
LONGEST_WAIT_S = 60
RETRY_S = "10"
UNPACKING = 2  # uploads that are checked at a time
UPLOADS = "/uploads"
BODY = {"requestBody": {"required": True, "content": {"application/octet-stream": {"schema": {"format": "binary"}}}}}
REFUSALS = {status: {"model": ErrorAnswer} for status in (401, 404, 408, 409, 413, 415, UNUSABLE, BUSY, FULL)}


@dataclass(frozen=True)
class Service:
    """A warm model with the store and the worker of its jobs.

    Attributes:
        token: that clients have to say; None: none.

    Examples:
        >>> app = make_app(Service(predictor, store, worker, settings, token=None))  # doctest: +SKIP
    """

    predictor: Predictor
    store: Store
    worker: Worker
    settings: ServiceSettings
    token: str | None

    def answer(self, job: Job) -> JobAnswer:
        return JobAnswer.of(job, self.worker.progress(job), self.worker.position(job))


def make_app(service: Service) -> FastAPI:
    """The application that uvicorn serves."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        expiring = asyncio.create_task(_expire_for_ever(service.store))
        yield
        expiring.cancel()
        with suppress(asyncio.CancelledError):
            await expiring

    app = FastAPI(
        title="uniseg",
        version=uniseg_version(),
        description="Scans in, label maps out.",
        docs_url=None,  # which would load scripts from another server
        redoc_url=None,
        lifespan=lifespan,
    )
    app.add_middleware(SmallBodies, large=(UPLOADS,))
    if service.token is None:
        app.add_middleware(ThisMachineOnly)
    app.add_exception_handler(RefusedError, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _nowhere)
    app.add_exception_handler(OSError, _no_disk)
    app.add_exception_handler(Exception, _bug)
    app.include_router(_open_routes(app))
    with_token = {"dependencies": [Depends(token_check(service.token))], "responses": REFUSALS}
    for router in (_network_routes(service), _upload_routes(service), _job_routes(service)):
        app.include_router(router, **with_token)
    return app


def _open_routes(app: FastAPI) -> APIRouter:
    """Those that need no token and tell nothing of scans."""
    router = APIRouter(tags=["without a token"])

    @router.get("/healthz")
    def healthz() -> Health:
        """Whether the service answers; needs no token."""
        return Health(uniseg=uniseg_version())

    @router.get("/client.py", response_class=FileResponse)
    def client() -> FileResponse:
        """The client in one Python file, which needs Python alone; needs no token."""
        return FileResponse(str(uniseg_client.__file__), media_type="text/x-python", filename="uniseg_client.py")

    @router.get("/docs", response_class=HTMLResponse, include_in_schema=False)
    def docs() -> HTMLResponse:
        return HTMLResponse(as_page(app.openapi()))

    return router


def _network_routes(service: Service) -> APIRouter:
    router = APIRouter(tags=["tasks"])
    network = Network(
        uniseg=uniseg_version(),
        checkpoint=service.predictor.checkpoint_hash,
        tasks=[TaskAnswer.of(task) for task in service.predictor.model.tasks],
        limits=Limits.of(service.settings),
    )

    @router.get("/tasks")
    def tasks() -> Network:
        """What can be segmented: modalities in, classes with colours out; the limits."""
        return network

    return router


def _upload_routes(service: Service) -> APIRouter:
    router, store, settings = APIRouter(tags=["uploads"]), service.store, service.settings
    unpacking = asyncio.Semaphore(UNPACKING)

    @router.post(UPLOADS, status_code=HTTPStatus.CREATED, openapi_extra=BODY)
    async def upload(
        request: Request, filename: Annotated[str, Query(description="Its ending says the kind of file")]
    ) -> UploadAnswer:
        """A scan, or one channel of it, as the body: NIfTI, NRRD, or a zip of a DICOM series."""
        ending, name = intake.ending_of(filename), filename[-NAMED:]
        with store.receiving(name) as incoming:
            await receive(request, incoming.folder / intake.received_name(ending), incoming, settings)
            async with unpacking:
                scan = await run_in_threadpool(intake.accept, incoming, ending, settings)
            return UploadAnswer.of(await run_in_threadpool(store.keep, incoming, scan))

    @router.delete(UPLOADS + "/{upload_id}", status_code=HTTPStatus.NO_CONTENT)
    def delete_upload(upload_id: str) -> Response:
        """Remove it now; else it goes when nothing has needed it for some time."""
        store.remove_upload(upload_id)
        return Response(status_code=HTTPStatus.NO_CONTENT)

    return router


def _job_routes(service: Service) -> APIRouter:
    router, store, worker = APIRouter(tags=["jobs"]), service.store, service.worker

    @router.post("/jobs", status_code=HTTPStatus.CREATED)
    def start(request: JobRequest) -> JobAnswer:
        """Start a job; it is done when those before it are."""
        return service.answer(worker.submit(**_wanted(service, request)))

    @router.get("/jobs/{job_id}")
    async def job(
        job_id: str,
        wait: Annotated[
            float, Query(ge=0, le=LONGEST_WAIT_S, description="Answer once it is finished, or after so many seconds")
        ] = 0,
    ) -> JobAnswer:
        """State, stage, fraction; once it is done, its label maps."""
        until = time.monotonic() + wait
        while not store.job(job_id).is_finished and time.monotonic() < until:
            await asyncio.sleep(LOOK_S)
        return service.answer(store.job(job_id))

    @router.get("/jobs/{job_id}/results/{task}", response_class=FileResponse)
    def result(job_id: str, task: str) -> FileResponse:
        """The label map of a task, on the scan's own grid."""
        found = {each.task: each for each in store.job(job_id).results}
        if task not in found:
            there = ", ".join(found) or "none yet"
            raise RefusedError(404, f"task '{task}'", "no label map", f"one of: {there}", "correct the name, or wait")
        name = f"{task}{found[task].ending}"
        path: Path = store.jobs_dir / job_id / found[task].path  # both are ours: looked up, not taken from the request
        return FileResponse(path, media_type="application/octet-stream", filename=name)

    @router.delete("/jobs/{job_id}", status_code=HTTPStatus.NO_CONTENT)
    def delete_job(job_id: str) -> Response:
        """Out of the queue, or what it wrote removed; one that runs ends with the windows at hand."""
        worker.remove(job_id)
        return Response(status_code=HTTPStatus.NO_CONTENT)

    return router


def _wanted(service: Service, request: JobRequest) -> dict[str, object]:
    """Of ``Job``.

    Raises:
        RefusedError: an upload or a task that is not there, a channel that is missing.
    """
    if (request.image is None) == (not request.images):
        fix = 'give {"image": id}, or {"images": {"CT": id}}'
        raise RefusedError(UNUSABLE, "images", "both or none of image, images", "one of them", fix)
    if request.format not in FORMATS:
        expected = f"one of {', '.join(FORMATS)}"
        raise RefusedError(UNUSABLE, "format", f"'{request.format[:NAMED]}'", expected, "correct it")
    images = {"": request.image} if request.image is not None else request.images or {}
    for upload_id in images.values():
        service.store.upload(upload_id or "")
    modality = tuple(name for name in images if name)
    tasks = service.predictor.model.tasks
    known = {name for task in tasks for name in task.modalities}
    if unknown := [name for name in modality if name not in known]:
        expected = f"names among {', '.join(sorted(known))}"
        raise RefusedError(UNUSABLE, "images", f"'{unknown[0][:NAMED]}'", expected, "GET /tasks lists them")
    for name in request.tasks if request.tasks != [AUTO] else []:
        if name not in tasks.names:
            expected = f"names among {', '.join(tasks.names)}, or auto"
            raise RefusedError(UNUSABLE, "tasks", f"'{name[:NAMED]}'", expected, "GET /tasks lists them")
        task = tasks[tasks.position(name)]
        lacking = [each for each in task.modalities if each not in images and each not in task.optional]
        if modality and lacking:
            raise RefusedError(UNUSABLE, f"task '{name}'", f"no {lacking[0]}", "an image for it", "upload it")
    return {
        "images": tuple(images.values()),
        "modality": modality,
        "tasks": tuple(dict.fromkeys(request.tasks)),
        "series": request.series,
        "format": request.format,
    }


async def _expire_for_ever(store: Store) -> None:
    while True:
        await asyncio.sleep(EXPIRY_S)
        await run_in_threadpool(store.expire)


async def _refused(request: Request, error: Exception) -> JSONResponse:
    status, content = error.status, error.content  # type: ignore[attr-defined]
    more = {401: {"WWW-Authenticate": "Bearer"}, BUSY: {"Retry-After": RETRY_S}, FULL: {"Retry-After": RETRY_S}}
    return JSONResponse(content, status, headers=more.get(status))


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    first = error.errors()[0]  # type: ignore[attr-defined]
    where = ".".join(str(part) for part in first["loc"])
    found = f"{str(first.get('input'))[:NAMED]!r}"
    return await _refused(request, RefusedError(UNUSABLE, where, found, first["msg"], "see /docs"))


async def _nowhere(request: Request, error: Exception) -> JSONResponse:
    found = f"{request.method} {request.url.path[:NAMED]}"
    status, detail = error.status_code, error.detail  # type: ignore[attr-defined]
    return await _refused(request, RefusedError(status, "address", f"{found} ({detail})", "one of /docs", "correct it"))


async def _no_disk(request: Request, error: Exception) -> JSONResponse:
    found = error.strerror or type(error).__name__  # type: ignore[attr-defined]
    return await _refused(request, RefusedError(FULL, "store", found, "a disk with room", "try again later"))


async def _bug(request: Request, error: Exception) -> JSONResponse:
    found = f"an error of the service ({type(error).__name__})"
    return await _refused(request, RefusedError(500, "service", found, "an answer", "its log tells more"))

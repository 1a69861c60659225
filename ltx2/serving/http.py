"""Videos for programs over HTTP, in the shape that OpenAI's video interface made common.

    POST   /v1/videos               {"prompt": ..., "seconds": ..., "size": "96x96"}: a job, at once
    GET    /v1/videos/{id}          where it stands
    GET    /v1/videos/{id}/content  the MP4
    DELETE /v1/videos/{id}          cancelled and deleted

Where the server has a login or a key, programs send it: `Authorization: Bearer KEY`, or name and
password. Jobs share the queue of the page. Who knows the id of a job may read it; only the program
that asked for it, told apart by its bearer token or its address, may delete it.
"""

import hashlib
from collections.abc import Callable, Coroutine
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, JSONResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ltx2.errors import LTX2Error, RequestError, ResourceError
from ltx2.request import Request as ClipRequest
from ltx2.serving.access import Door
from ltx2.serving.jobs import (
    Cancelled,
    Choice,
    ChosenLora,
    Done,
    Failed,
    Job,
    Queued,
    QueueFullError,
    Running,
    UnknownJobError,
)
from ltx2.serving.worker import JobQueue

PATH = "/v1/videos"

MAX_BODY = 100_000
"""Bytes of a request: a prompt and some numbers."""

Status = Literal["queued", "in_progress", "completed", "failed"]
Token = Annotated[str | None, Header(alias="authorization")]
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class AskedLora(BaseModel):
    """A LoRA by the name it is offered under, perhaps with another strength for the sound."""

    model_config = ConfigDict(extra="forbid")

    name: str
    strength: float = 1.0
    audio_strength: float | None = None


class AskedVideo(BaseModel):
    """What a program asks for; what it leaves out is the model's usual."""

    model_config = ConfigDict(extra="forbid")

    prompt: str
    model: str | None = None
    seconds: float | None = Field(default=None, gt=0)
    size: str | None = Field(default=None, pattern=r"^\d{1,5}x\d{1,5}$")
    seed: int = Field(default=1, ge=0, lt=2**63)
    steps: int | None = Field(default=None, ge=1)
    negative_prompt: str | None = None
    loras: tuple[AskedLora, ...] = ()
    quantization: str | None = None

    def to_request(self) -> ClipRequest:
        """The clip.

        Raises:
            RequestError: it cannot be made.
        """
        width, height = map(int, self.size.split("x")) if self.size else (None, None)
        return ClipRequest(
            prompt=self.prompt,
            negative_prompt=self.negative_prompt,
            width=width,
            height=height,
            duration_s=self.seconds,
            num_steps=self.steps,
            seed=self.seed,
        )

    def to_choice(self) -> Choice:
        """What to make it with."""
        loras = tuple(
            ChosenLora(lora.name, lora.strength, lora.audio_strength) for lora in self.loras
        )
        return Choice(self.model, loras, quantization=self.quantization)


class Problem(BaseModel):
    """Why there is no video, and what to do."""

    code: str
    message: str


class Video(BaseModel):
    """A job as programs see it."""

    id: str
    object: Literal["video"] = "video"
    model: str | None
    status: Status
    progress: int
    created_at: int
    seconds: str | None
    size: str | None
    seed: int
    error: Problem | None = None

    @classmethod
    def of(cls, job: Job, queue: JobQueue) -> "Video":
        """What is known of a job."""
        profile = queue.models[0].offer(job.choice.model).profile
        resolved = job.request.resolve(profile)
        seconds = (resolved.num_frames or 0) / (resolved.frame_rate or 1.0)
        status, progress, error = _standing(job)
        return cls(
            id=job.id,
            model=job.choice.model,
            status=status,
            progress=progress,
            created_at=int(job.created_at),
            seconds=f"{seconds:.2f}",
            size=f"{resolved.width}x{resolved.height}",
            seed=job.request.seed,
            error=error,
        )


def build_router(  # noqa: C901 - routes that share a queue and a door
    queue: JobQueue, door: Door | None = None
) -> APIRouter:
    """Routes that answer from a queue.

    Args:
        queue: makes the clips.
        door: who may come in and how often; usually everybody, as often as settings say.
    """
    door = door or Door()

    def refusal(request: Request) -> JSONResponse | None:
        try:
            is_open = door.opens_for(request.headers.get("authorization"), request)
        except QueueFullError as error:
            return _refusal(429, "rate_limit_exceeded", str(error))
        if is_open:
            return None
        return _refusal(401, "unauthorized", "Send the server's key as a bearer token.")

    class Guarded(APIRoute):
        """A route that nobody enters without the key."""

        def get_route_handler(self) -> Handler:
            answer = super().get_route_handler()

            async def guarded(request: Request) -> Response:
                return refusal(request) or await answer(request)

            return guarded

    router = APIRouter(prefix=PATH, tags=["videos"], route_class=Guarded)

    @router.post("", status_code=202)
    async def create(request: Request, authorization: Token = None) -> Any:
        """Puts a job into the queue."""
        if queue.in_request:
            return _refusal(501, "not_here", "This server makes clips for /generate_video only.")
        if int(request.headers.get("content-length") or MAX_BODY + 1) > MAX_BODY:
            return _refusal(413, "too_large", f"Send a body of at most {MAX_BODY // 1000} kB.")
        try:
            asked = AskedVideo.model_validate(await _body(request))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            field = ".".join(str(part) for part in first["loc"]) or "the body"
            return _refusal(400, "invalid_request", f"{field}: {first['msg']}.")
        except ValueError:
            return _refusal(400, "invalid_request", "The body is not JSON. Send an object.")
        owner = _owner(request, authorization, door)

        def submit() -> Video:
            clip, choice = asked.to_request(), asked.to_choice()
            door.admit(owner, request)
            return Video.of(queue.submit(owner, clip, choice), queue)

        # Not on the loop that serves everybody: it looks at memory and writes to disk.
        return await run_in_threadpool(_answer, submit)

    @router.get("/{job_id}")
    def read(job_id: str) -> Any:
        """Where a job stands."""
        return _answer(lambda: Video.of(queue.now(queue.store.open_link(job_id)), queue))

    @router.get("/{job_id}/content")
    def content(job_id: str) -> Any:
        """The MP4 of a job that is done."""

        def file() -> Any:
            job = queue.now(queue.store.open_link(job_id))
            path = queue.path(job)
            if path is None or not path.is_file():
                status = _standing(job)[0]
                return _refusal(409, "not_ready", f"The video is {status}. Ask again later.")
            return FileResponse(path, media_type="video/mp4", filename=f"{job_id}.mp4")

        return _answer(file)

    @router.delete("/{job_id}")
    def delete(job_id: str, request: Request, authorization: Token = None) -> Any:
        """Cancels and deletes a job."""

        def gone() -> Any:
            queue.delete(_owner(request, authorization, door), job_id)
            return {"id": job_id, "object": "video.deleted", "deleted": True}

        return _answer(gone)

    return router


async def _body(request: Request) -> Any:
    """JSON, or the fields of a form, as OpenAI's own client sends."""
    if request.headers.get("content-type", "").startswith("application/json"):
        return await request.json()
    return dict(await request.form())


def _standing(job: Job) -> tuple[Status, int, Problem | None]:
    """Status, percent and problem of a job."""
    match job.state:
        case Queued():
            return "queued", 0, None
        case Running(stage, step, total):
            done = 100 * step // total if stage == "denoise" else 0
            return "in_progress", 99 if stage.startswith(("decode", "save")) else done, None
        case Done():
            return "completed", 100, None
        case Failed(message, next_step):
            return "failed", 0, Problem(code="failed", message=f"{message} {next_step}")
        case Cancelled():
            return "failed", 0, Problem(code="cancelled", message="The clip was stopped.")


def _answer(call: Callable[[], Any]) -> Any:
    """The answer of a call, its errors as status codes."""
    try:
        return call()
    except UnknownJobError as error:
        return _refusal(404, "not_found", str(error))
    except QueueFullError as error:
        return _refusal(429, "rate_limit_exceeded", str(error))
    except RequestError as error:
        return _refusal(400, "invalid_request", str(error))
    except ResourceError as error:
        return _refusal(507, "out_of_resources", str(error))
    except LTX2Error as error:
        return _refusal(500, "failed", str(error))


def _refusal(status: int, code: str, message: str) -> JSONResponse:
    return JSONResponse({"error": {"code": code, "message": message}}, status_code=status)


def _owner(request: Request, authorization: str | None, door: Door) -> str:
    """Who asks: an opaque name made of the token, or of the address where there is none."""
    name = authorization or door.address(request)
    return "api " + hashlib.sha256(name.encode()).hexdigest()

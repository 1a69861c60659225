"""Rating sessions and studies over HTTP, as JSON; what the page calls, and what programs may.

Raters. A session is named by `Authorization: Bearer TOKEN`; every answer is a state: `{"state":
"consent" | "checks" | "pair" | "break" | "end_questions" | "done" | "waiting", ...}` with the
fields of the class of that name in `session`.

    POST /rating/studies/{study}/sessions   join: {"token": ..., "state": ...}
    GET  /rating/session                    where it stands; call it after a reload
    POST /rating/session/consent
    POST /rating/session/checks             {"sound_heard", "screen_width", "screen_height", ...}
    POST /rating/session/played             {"trial", "side", "played_s", "starts"}: media time
    POST /rating/session/vote               {"trial", "vote_token", "request_key", "answers",
                                            "reasons"}: on disk when the answer comes
    POST /rating/session/back               the pair before, once
    POST /rating/session/rested             after the break
    POST /rating/session/guesses            [{"trial", "side", "model" or null}]
    GET  /rating/clips/{session}/{name}     MP4, ranges, never cached; names are those of the pair

The owner. `Authorization: Bearer PASSWORD`, or on a Space the cookie of who signed in as its owner
(changes then need the page's own Origin). Where neither can be, these do not exist.

    GET  /rating/studies                    all of them
    POST /rating/studies                    YAML or JSON of a study: a draft
    GET  /rating/studies/{study}            status, counts, progress of opening, last hash
    POST /rating/studies/{study}/open       in the background; also pause, resume, close
    GET  /rating/studies/{study}/votes      ?form=csv|jsonl &every_kind=true; /log: the whole log

Errors are `{"error": {"type", "message", "next_step"}}`: 401 owner's password, 403 forged or
another's, 404 unknown, 409 out of turn, early, already voted, not open, full, 422 what was sent is
wrong, 429 too many requests (`Retry-After`), 503 the server cannot keep it.
"""

import hmac
import math
import re
from collections.abc import Callable, Coroutine
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Depends, Header, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from fastapi.routing import APIRoute

from evaluation.preference import export
from evaluation.preference.limits import Limiter, Limits, RateLimitedError
from evaluation.preference.opening import Opener
from evaluation.preference.session import (
    CheckAnswers,
    EarlyVoteError,
    ForgedVoteError,
    GuessSent,
    NotYoursError,
    OutOfTurnError,
    PlayedSent,
    Sessions,
    State,
    UnknownRaterError,
    VoteSent,
)
from evaluation.preference.store import (
    AlreadyVotedError,
    Store,
    StudyFullError,
    StudyNotOpenError,
    StudyRow,
    UnknownStudyError,
)
from evaluation.preference.study import Study
from ltx2.errors import LTX2Error, RequestError, ResourceError

PATH = "/rating"

BLOCK_BYTES = 2**18

MAX_PLAN_BYTES = 2**22

STATUS: dict[type[LTX2Error], int] = {
    ForgedVoteError: 403,
    NotYoursError: 403,
    UnknownRaterError: 404,
    UnknownStudyError: 404,
    OutOfTurnError: 409,
    EarlyVoteError: 409,
    AlreadyVotedError: 409,
    StudyNotOpenError: 409,
    StudyFullError: 409,
    RateLimitedError: 429,
    RequestError: 422,
    ResourceError: 503,
}
"""The first class that an error is of decides."""

Authorization = Annotated[str, Header(alias="authorization")]

AddressOf = Callable[[Request], str]


class NotTheOwnerError(RequestError):
    """The password is wrong or missing."""


class _Route(APIRoute):
    """Turns our errors into answers; nothing is cached."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handled(request: Request) -> Response:
            try:
                response = await handle(request)
            except LTX2Error as error:
                response = _refusal(error)
            response.headers["Cache-Control"] = "no-store"
            return response

        return handled


def preference_router(
    store: Store,
    sessions: Sessions,
    opener: Opener,
    *,
    owner_password: str | None,
    signed_in_owner: Callable[[Request], bool] | None = None,
    address_of: AddressOf | None = None,
    limits: Limits | None = None,
) -> APIRouter:
    """Everything in the module's docstring.

    Args:
        store, sessions, opener: what answers.
        owner_password: None where there is none.
        signed_in_owner: whether who asks has signed in as the owner; None where nobody can. With
            neither of the two the owner's part is left out.
        address_of: address of who asks, which a proxy may have passed on; usually of who connects.
        limits: of attempts at the password.
    """
    address_of = address_of or _client
    router = APIRouter(prefix=PATH, route_class=_Route)
    _add_session(router, sessions, address_of)
    _add_votes(router, sessions, address_of)
    if owner_password or signed_in_owner:
        attempts = Limiter((limits or Limits()).passwords)
        guard = Depends(_owner_only(owner_password, signed_in_owner, attempts, address_of))
        owner = APIRouter(route_class=_Route, dependencies=[guard])
        _add_studies(owner, store, opener)
        _add_results(owner, store)
        router.include_router(owner)
    return router


def state_json(state: State) -> dict[str, Any]:
    """A state as the page reads it."""
    fields = asdict(state)
    if "axes" in fields:
        fields["axes"] = [
            {**axis.model_dump(mode="json"), "answers": axis.answers} for axis in fields["axes"]
        ]
    return {"state": re.sub(r"(?<!^)(?=[A-Z])", "_", type(state).__name__).lower(), **fields}


def _add_session(router: APIRouter, sessions: Sessions, address_of: AddressOf) -> None:
    @router.post("/studies/{study_id}/sessions")
    def join(study_id: str, request: Request) -> dict[str, Any]:
        token, state = sessions.join(study_id, address_of(request))
        return {"token": token, "state": state_json(state)}

    @router.get("/session")
    def where(request: Request, authorization: Authorization = "") -> dict[str, Any]:
        return state_json(sessions.state(_bearer(authorization), address_of(request)))

    @router.post("/session/consent")
    def consent(request: Request, authorization: Authorization = "") -> dict[str, Any]:
        return state_json(sessions.consent(_bearer(authorization), address_of(request)))

    @router.post("/session/checks")
    def checks(
        found: CheckAnswers, request: Request, authorization: Authorization = ""
    ) -> dict[str, Any]:
        return state_json(sessions.checks(_bearer(authorization), found, address_of(request)))

    @router.get("/clips/{session_id}/{name}")
    def clip(
        session_id: str, name: str, range_: Annotated[str, Header(alias="range")] = ""
    ) -> Response:
        return clip_response(sessions.clip(session_id, name), range_)


def _add_votes(router: APIRouter, sessions: Sessions, address_of: AddressOf) -> None:
    @router.post("/session/played")
    def played(
        sent: PlayedSent, request: Request, authorization: Authorization = ""
    ) -> dict[str, Any]:
        return state_json(sessions.played(_bearer(authorization), sent, address_of(request)))

    @router.post("/session/vote")
    def vote(sent: VoteSent, request: Request, authorization: Authorization = "") -> dict[str, Any]:
        return state_json(sessions.vote(_bearer(authorization), sent, address_of(request)))

    @router.post("/session/back")
    def back(request: Request, authorization: Authorization = "") -> dict[str, Any]:
        return state_json(sessions.back(_bearer(authorization), address_of(request)))

    @router.post("/session/rested")
    def rested(request: Request, authorization: Authorization = "") -> dict[str, Any]:
        return state_json(sessions.rested(_bearer(authorization), address_of(request)))

    @router.post("/session/guesses")
    def guesses(
        sent: Annotated[tuple[GuessSent, ...], Body(max_length=100)],
        request: Request,
        authorization: Authorization = "",
    ) -> dict[str, Any]:
        return state_json(sessions.guess(_bearer(authorization), sent, address_of(request)))


def _add_studies(router: APIRouter, store: Store, opener: Opener) -> None:
    @router.get("/studies")
    def studies() -> list[dict[str, Any]]:
        return [_summary(store, opener, row) for row in store.studies()]

    @router.post("/studies", status_code=201)
    async def create(request: Request) -> dict[str, Any]:
        body = await request.body()
        if len(body) > MAX_PLAN_BYTES:
            raise RequestError("The study is too long.", next_step="Use a folder per model.")
        try:
            plan = Study.from_yaml(body.decode())
        except UnicodeDecodeError as error:
            raise RequestError("The study is no text.", next_step="Send YAML in UTF-8.") from error
        return _summary(store, opener, store.create(plan))

    @router.get("/studies/{study_id}")
    def study(study_id: str) -> dict[str, Any]:
        row = store.study(study_id)
        return {**_summary(store, opener, row), "plan": row.plan.model_dump(mode="json")}

    @router.post("/studies/{study_id}/{action}")
    def act(study_id: str, action: Literal["open", "pause", "resume", "close"]) -> dict[str, Any]:
        row = store.study(study_id)
        if action == "open":
            opener.start(row.id)
        elif action == "pause":
            store.set_status(study_id, "paused")
        else:
            store.set_status(study_id, "open" if action == "resume" else "closed")
        return _summary(store, opener, store.study(study_id))


def _add_results(router: APIRouter, store: Store) -> None:
    @router.get("/studies/{study_id}/votes")
    def votes(
        study_id: str, form: Literal["csv", "jsonl"] = "csv", every_kind: bool = False
    ) -> Response:
        table = export.rows(store, study_id, every_kind=every_kind)
        return PlainTextResponse(export.as_text(table, form))

    @router.get("/studies/{study_id}/log")
    def log(study_id: str) -> Response:
        return PlainTextResponse(export.log_lines(store, store.study(study_id).id))


def clip_response(path: Path, range_: str) -> Response:
    """A file or the part of it asked for, with headers that are the same for every clip.

    A file's time of change and a hash of its content (ETag) would name it, so they are left out.
    """
    size = path.stat().st_size
    start, end, status = 0, size - 1, 200
    asked = re.fullmatch(r"bytes=(\d*)-(\d*)", range_.strip())
    if asked and any(asked.groups()):
        first, last = asked.groups()
        start = int(first) if first else max(0, size - int(last))
        end = min(size - 1, int(last)) if first and last else size - 1
        status = 206
    headers = {
        "Accept-Ranges": "bytes",
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
    }
    if status == 206:
        if start > end:
            return Response(status_code=416, headers={"Content-Range": f"bytes */{size}"})
        headers["Content-Range"] = f"bytes {start}-{end}/{size}"
    headers["Content-Length"] = str(end - start + 1)
    return StreamingResponse(_blocks(path, start, end + 1), status, headers, media_type="video/mp4")


def _blocks(path: Path, start: int, end: int) -> Any:
    with path.open("rb") as file:
        file.seek(start)
        while start < end and (block := file.read(min(BLOCK_BYTES, end - start))):
            start += len(block)
            yield block


def _summary(store: Store, opener: Opener, row: StudyRow) -> dict[str, Any]:
    opening = opener.progress(row.id)
    return {
        "id": row.id,
        "name": row.plan.name,
        "status": row.status,
        "plan_sha256": row.plan.digest,
        "head": store.head(row.id),
        **store.counts(row.id),
        "opening": None if opening is None else asdict(opening),
    }


def _owner_only(
    password: str | None,
    signed_in_owner: Callable[[Request], bool] | None,
    attempts: Limiter,
    address_of: AddressOf,
) -> Callable[[Request, str], None]:
    def check(request: Request, authorization: Authorization = "") -> None:
        if not authorization and signed_in_owner is not None and signed_in_owner(request):
            return
        # Both as bytes: what is compared must not be refused for its letters.
        given = _bearer(authorization).encode()
        if not password or not hmac.compare_digest(given, password.encode()):
            attempts.take(address_of(request))
            raise NotTheOwnerError(
                "This is for the owner of the studies.", next_step="Give the right password."
            )

    return check


def _refusal(error: LTX2Error) -> JSONResponse:
    status = 401 if isinstance(error, NotTheOwnerError) else 500
    if status == 500:
        status = next((code for kind, code in STATUS.items() if isinstance(error, kind)), 500)
    content = {
        "error": {
            "type": type(error).__name__,
            "message": error.message,
            "next_step": error.next_step,
        }
    }
    headers = {}
    if isinstance(error, RateLimitedError):
        headers["Retry-After"] = str(math.ceil(error.retry_after_s))
    return JSONResponse(content, status, headers)


def _bearer(authorization: str) -> str:
    return authorization.removeprefix("Bearer ").strip()


def _client(request: Request) -> str:
    return request.client.host if request.client else ""

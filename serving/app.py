"""The chat service as an ASGI application: OpenAI's chat API, feedback, health, metrics and the web page."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast

import anyio
from fastapi import FastAPI
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.requests import Request

from serving import faults, metrics, personal
from serving.admission import Admission
from serving.arms.fleet import Answering, Choice, Fleet
from serving.body import read_body, while_there
from serving.cache.semantic import SemanticCache
from serving.draft import Draft, UnderWay
from serving.drain import add_doors, hold
from serving.entry import Entry, Guest
from serving.faults import count
from serving.feedback import Sink, feedback_event
from serving.guard.guard import Guard
from serving.history import History, Reply
from serving.memory.context import Memory
from serving.memory.session import transcript
from serving.models.pool import make_fallbacks, make_pool
from serving.models.turn import Engine
from serving.openai_api import ApiError, ChatRequest, FeedbackRequest, parse, unknown_model
from serving.options import Options
from serving.orchestrator import Orchestrator
from serving.release import Release
from serving.retrieval.pipeline import Retrieval
from serving.retrieval.sources import citations
from serving.review import routes as review
from serving.review.desk import Desk
from serving.stream import EventStream, events, whole
from serving.trace import Traced, Tracing
from serving.upstream import Piece, Upstream
from thumbwheel.arms import Arm, ledger_path, routing_path
from thumbwheel.errors import ReleaseError
from thumbwheel.ledger import Ledger

logger = logging.getLogger(__name__)

WEB = Path(__file__).resolve().parent / "web"
PAGE = (
    "index.html", "chat.css", "icon.svg", "chat.js",
    "api.js", "access.js", "feedback.js", "markdown.js", "citations.js", "spans.js", "remembered.js",
)  # fmt: skip
REVIEW = ("review.html", "review.css", "review.js")
ADDRESSES = {"index.html": "/", "review.html": "/review"}
POLICY = "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"


def only_own(arm: Arm, living: Sequence[Parts]) -> Parts:
    """Refuse to answer with another release, where nobody said how."""
    raise ReleaseError(f"this service answers with its own release alone, not with {arm.bento}.")


@dataclass(frozen=True)
class Parts:
    """What the application is put together from; `make_arm` puts another release's together, given the living ones."""

    release: Release
    history: History
    upstream: Upstream
    sink: Sink
    options: Options
    entry: Entry
    memory: Memory
    cache: SemanticCache | None
    on_stop: Callable[[], None] = lambda: None
    retrieval: Retrieval | None = None
    desk: Desk | None = None
    tracing: Tracing = field(default_factory=Tracing)
    make_arm: Callable[[Arm, Sequence[Parts]], Parts] = only_own
    routing: Path = field(default_factory=routing_path)
    ledger: Path = field(default_factory=ledger_path)


def create_app(make_parts: Callable[[], Parts]) -> FastAPI:
    """Return the application; `make_parts` is called when it starts, not when it is imported."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        parts = make_parts()
        guard = Guard(parts.options.guard)
        fallbacks = make_fallbacks(parts.options)
        answer = partial(_orchestrator, Admission(parts.options.admission), guard, fallbacks)
        fleet = app.state.fleet = Fleet(parts, answer, parts.make_arm, parts.routing, Ledger(parts.ledger))
        await fleet.start(partial(_adopt, app))
        yield
        await fleet.close()
        for engine in fallbacks:
            await engine.upstream.close()
        await guard.close()
        parts.on_stop()
        await anyio.to_thread.run_sync(parts.tracing.stop)

    app = FastAPI(title="Thumbwheel chat", docs_url=None, redoc_url=None, lifespan=lifespan)
    app.state.under_way = UnderWay()
    add_doors(app)
    app.add_middleware(Traced)
    faults.add_handlers(app)
    app.add_route("/v1/chat/completions", chat_completions, ["POST"])  # takes nothing that FastAPI would have to solve
    app.post("/v1/feedback", response_model=None)(feedback)
    app.get("/v1/models")(models)
    app.get("/v1/models/{name:path}")(model)
    personal.add_routes(app)
    review.add_routes(app)
    app.get("/v1/conversations/{conversation_id}")(conversation)
    app.get("/metrics", response_model=None)(prometheus)
    app.add_route("/healthz", healthz)  # such routes answer HEAD, too, by which monitors like to ask
    app.add_route("/readyz", readyz)
    app.get("/release")(release)
    for name in (*PAGE, *REVIEW):
        app.add_route(ADDRESSES.get(name, f"/{name}"), _page(name))
    return app


def _orchestrator(
    admission: Admission, guard: Guard, fallbacks: Sequence[Engine], parts: Parts, note: Callable[[Draft], None]
) -> Orchestrator:
    pool = make_pool(parts.options, parts.release, parts.upstream, admission, fallbacks)
    return Orchestrator(
        parts.release, parts.history, pool, admission, guard, parts.memory, parts.cache, parts.retrieval,
        parts.options.retrieval.shared_tenants, note,
    )  # fmt: skip


def _adopt(app: FastAPI, champion: Answering) -> None:
    """Let all that is not an answer be the champion's."""
    app.state.parts, app.state.orchestrator = champion.parts, champion.orchestrator
    app.state.pool = champion.orchestrator.pool


async def chat_completions(request: Request) -> Response:
    """Answer in OpenAI's format, whole or as a stream."""
    fleet, entry = cast(Fleet, request.app.state.fleet), cast(Entry, request.app.state.parts.entry)
    request.app.state.doors.enter()
    guest = await entry.admit(request)
    hold(request, entry.share(request, guest))
    body = parse(ChatRequest, await read_body(request))
    guest = entry.named(guest, body.user)
    choice = await fleet.choose(body, guest)
    try:
        response = await _answer(request, body, guest, choice)
    except ApiError as error:
        if (instead := fleet.instead(choice, error)) is None:
            raise
        response = await _answer(request, body, guest, instead)
    return guest.mark(response)


async def _answer(request: Request, body: ChatRequest, guest: Guest, choice: Choice) -> Response:
    orchestrator = choice.answering.orchestrator
    draft = await orchestrator.draft(body, guest)
    draft.unit = choice.unit
    hold(request, request.app.state.under_way.one(draft))
    pieces = orchestrator.pieces(draft)
    async with while_there(request):
        first = await anext(pieces, None)
        if not body.stream:
            await _drain(pieces)
    if body.stream:
        with_usage = body.stream_options is not None and body.stream_options.include_usage
        response: Response = EventStream(events(draft, first, pieces, with_usage))
    else:
        response = JSONResponse(whole(draft))
    count(request, 200)
    response.headers["X-Conversation-Id"] = draft.conversation_id
    response.headers["X-Message-Id"] = draft.message_id
    response.headers["X-Model"] = draft.model
    response.headers["X-Arm"] = draft.arm
    if draft.lookup:
        response.headers["X-Cache"] = "hit" if draft.is_cached else "miss"
    return response


async def feedback(request: Request) -> Response:
    """Turn what a user says of a reply into a durable event."""
    parts: Parts = request.app.state.parts
    guest = await parts.entry.admit(request)
    body = parse(FeedbackRequest, await read_body(request))
    guest = parts.entry.named(guest, body.user)
    shared = parts.options.retrieval.shared_tenants
    once = request.headers.get("Idempotency-Key")
    item = await anyio.to_thread.run_sync(feedback_event, body, parts.history, guest, shared, once)
    try:
        await anyio.to_thread.run_sync(parts.sink.append, item)
    except OSError as error:
        logger.exception("an event could not be stored")
        raise ApiError(503, f"the feedback could not be stored: {error}", "feedback_unavailable") from None
    if parts.cache:
        await parts.cache.disliked(item)
    metrics.FEEDBACK.labels(item["kind"], item["rating"] or "none", item["model"], item["arm"]).inc()
    count(request, 201)
    stored = {"event_id": item["event_id"], "kind": item["kind"], "object": "feedback"}
    return guest.mark(JSONResponse(stored, 201))


async def models(request: Request) -> dict[str, Any]:
    """List the models that answer, the champion first, then the name that stands for it, and a caller's adapters."""
    guest = await request.app.state.parts.entry.guest(request)
    fleet, pool = request.app.state.fleet, request.app.state.pool
    names = dict.fromkeys([*fleet.models(), fleet.champion.release.name, *pool.offered(guest.caller)])
    return {"object": "list", "data": [_model(name) for name in names]}


async def model(request: Request, name: str) -> dict[str, Any]:
    """Return one of the models that a caller may ask for."""
    listed: list[dict[str, Any]] = (await models(request))["data"]
    if (found := next((one for one in listed if one["id"] == name), None)) is not None:
        return found
    raise unknown_model(name)


async def conversation(request: Request, conversation_id: str, user: str | None = None) -> dict[str, Any]:
    """Return a conversation's replies, oldest first, to whom it belongs; one of nobody's to whoever knows its id."""
    parts: Parts = request.app.state.parts
    guest = parts.entry.named(await parts.entry.guest(request), user)
    replies = await anyio.to_thread.run_sync(parts.history.conversation, conversation_id)
    if not replies or not all(request.app.state.orchestrator.may_read(guest, reply) for reply in replies):
        raise ApiError(404, f"there is no conversation '{conversation_id}'", "conversation_not_found")
    shown = {"messages": transcript(replies), "replies": [_public(reply) for reply in replies]}
    return {"id": conversation_id, "object": "conversation", **shown}


def release(request: Request) -> dict[str, Any]:
    """Return what the page shows of the release."""
    shown = {"version", "model", "bundle", "index", "title", "assistant", "greeting", "suggestions"}
    return dict(request.app.state.parts.release.model_dump(include=shown))


async def prometheus(request: Request) -> Response:
    await request.app.state.pool.observe()
    return Response(metrics.render(), media_type="text/plain; version=0.0.4")


async def healthz(request: Request) -> Response:
    return PlainTextResponse("ok\n")


async def readyz(request: Request) -> Response:
    """Answer 200 when an engine can answer and somebody new may ask."""
    if request.app.state.doors.are_closed:
        return PlainTextResponse("the service takes nobody new\n", 503)
    ready = await request.app.state.pool.is_ready()
    return PlainTextResponse("ready\n" if ready else "the engine is not ready\n", 200 if ready else 503)


async def _drain(pieces: AsyncIterator[Piece]) -> None:
    async for _ in pieces:
        pass


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "thumbwheel"}


def _public(reply: Reply) -> dict[str, Any]:
    hidden, if_any = ("user", "system", "conversation_id", "retrieved"), ("calls", "offered")
    shown = {name: value for name, value in vars(reply).items() if name not in hidden and (value or name not in if_any)}
    cited = {"citations": citations(reply.reply, reply.retrieved["sources"])} if reply.retrieved else {}
    return {**shown, "prompt": reply.said(), **cited}


def _page(name: str) -> Callable[[Request], Response]:
    headers = {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}

    def page(request: Request) -> Response:
        return FileResponse(WEB / name, headers=headers)

    return page

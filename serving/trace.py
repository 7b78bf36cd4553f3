"""Traces by OpenTelemetry: a span for each request and each part of it, sent by OTLP where an endpoint is named.

    OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4318    # OTLP over HTTP; the SDK's other variables hold as well

Without it no span is made. A span holds times, counts, names and ids, and never what anybody wrote: an exception leaves
its kind and not its message. Parts name their parent instead of finding it in a context: they run in generators, which
end in other contexts than they began in.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opentelemetry import context as contexts
from opentelemetry.context import Context
from opentelemetry.trace import (
    INVALID_SPAN,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    Tracer,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.openai_api import ApiError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
SERVICE = "thumbwheel-chat"
TRACED = "/v1/"
"""Where the paths begin that are traced; health, metrics and the page are not."""
REQUEST_ID = b"x-request-id"
PARENT = "traceparent"
CANCELLED: tuple[type[BaseException], ...] = (asyncio.CancelledError, GeneratorExit)
NOTHING: AbstractContextManager[Span] = nullcontext(INVALID_SPAN)

Attributes = Mapping[str, str | int | float | bool | list[str]]


@dataclass(frozen=True)
class Current:
    """The request that is being answered: its span, the context that names it, and what makes spans, if anything."""

    span: Span = INVALID_SPAN
    context: Context | None = None
    tracer: Tracer | None = None

    @property
    def id(self) -> str:
        """Return the trace's id, 32 hexadecimal digits, by which users and log lines name a request."""
        return format(self.span.get_span_context().trace_id, "032x")


NOBODY = Current()
"""Outside of every request."""
_current: ContextVar[Current] = ContextVar("current", default=NOBODY)


def span(name: str) -> AbstractContextManager[Span]:
    """Return the span of a part of the current request, to be open for the length of a `with` block."""
    current = _current.get()
    return NOTHING if current.tracer is None else _recorded(current.tracer, name, current.context)


def note(attributes: Attributes) -> None:
    """Set attributes of the current request's own span."""
    current = _current.get()
    if current.tracer is not None:
        current.span.set_attributes({**attributes})


def outgoing(of: Span) -> dict[str, str]:
    """Return the headers that make a request to another service a child of the span `of`; none where it is not made."""
    headers: dict[str, str] = {}
    if of is not INVALID_SPAN:
        TraceContextTextMapPropagator().inject(headers, set_span_in_context(of, Context()))
        headers.pop("tracestate", None)
    return headers


class Tracing:
    """What makes the spans of a service; without a provider it gives requests their ids alone."""

    def __init__(self, provider: TracerProvider | None = None) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer(SERVICE) if provider else None

    @contextmanager
    def request(self, method: str, parent: str | None) -> Iterator[Current]:
        """Make a request current for the length of a `with` block; `parent` is its `traceparent` header.

        It is current for OpenTelemetry, too, so that BentoML writes the trace's id into every line of its log.
        """
        current = self._begun(method, incoming(parent))
        ours, theirs = _current.set(current), contexts.attach(set_span_in_context(current.span))
        try:
            yield current
        finally:
            contexts.detach(theirs)
            _current.reset(ours)
            current.span.end()

    def stop(self) -> None:
        """Send what is left."""
        if self._provider:
            self._provider.shutdown()

    def _begun(self, method: str, context: Context) -> Current:
        if self._tracer is None:
            return Current(_identified(context))
        begun = self._tracer.start_span(method, context, SpanKind.SERVER, {"http.request.method": method})
        return Current(begun, set_span_in_context(begun, Context()), self._tracer)


class Traced:
    """ASGI middleware: a request's span lasts until its answer is sent, and its id is a header of the answer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(TRACED):
            await self.app(scope, receive, send)
            return
        tracing: Tracing = scope["app"].state.parts.tracing
        parents = [value for name, value in scope["headers"] if name == PARENT.encode()]
        with tracing.request(scope["method"], parents[0].decode("latin-1") if len(parents) == 1 else None) as current:

            async def marked(message: Message) -> None:
                if message["type"] == "http.response.start":
                    message["headers"] = [*message.get("headers", ()), (REQUEST_ID, current.id.encode())]
                    _answered(current.span, scope, message["status"])
                await send(message)

            await self.app(scope, receive, marked)


def is_wanted() -> bool:
    """Tell whether the environment names a place to send traces to."""
    return os.environ.get("OTEL_SDK_DISABLED", "").lower() != "true" and any(map(os.environ.get, ENDPOINTS))


def make_tracing(version: str) -> Tracing:
    """Return the tracing that the environment asks for; `version` is the release's name."""
    if not is_wanted():
        return Tracing()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

    class SameTrace(RandomIdGenerator):
        def generate_trace_id(self) -> int:
            return trace_id()

    name = os.environ.get("OTEL_SERVICE_NAME", SERVICE)
    resource = Resource.create({"service.name": name, "service.version": version})
    provider = TracerProvider(resource=resource, id_generator=SameTrace())
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Tracing(provider)


def tracing_arguments() -> list[str]:
    """Return what makes the engine send its spans to the same place; its environment names the protocol."""
    if not is_wanted():
        return []
    whole, base = os.environ.get(ENDPOINTS[1]), os.environ.get(ENDPOINTS[0], "").rstrip("/")
    return ["--otlp-traces-endpoint", whole or f"{base}/v1/traces"]


ENGINE_ENVIRONMENT = {"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf", "OTEL_SERVICE_NAME": "thumbwheel-engine"}
"""What the engine needs beside `tracing_arguments`: its own default is gRPC."""


def incoming(parent: str | None) -> Context:
    """Return the context that a `traceparent` header names; without one, or with one that is malformed, none.

    `tracestate` and baggage are not taken in: anybody may write anything into them.
    """
    return TraceContextTextMapPropagator().extract({PARENT: parent} if parent else {}, Context())


@contextmanager
def _recorded(tracer: Tracer, name: str, context: Context | None) -> Iterator[Span]:
    made = tracer.start_span(name, context, record_exception=False, set_status_on_exception=False)
    try:
        yield made
    except CANCELLED:
        made.set_attribute("cancelled", True)
        raise
    except BaseException as error:
        made.set_status(StatusCode.ERROR)
        made.set_attribute("error.type", error.code if isinstance(error, ApiError) else type(error).__name__)
        raise
    finally:
        made.end()


def _identified(context: Context) -> Span:
    """Return a span that is never sent, of the trace that `context` names or of a new one."""
    known = get_current_span(context).get_span_context()
    trace = known.trace_id if known.is_valid else trace_id()
    return NonRecordingSpan(SpanContext(trace, random.getrandbits(64) | 1, is_remote=False))


def trace_id() -> int:
    """Return the id of a new trace: the one that BentoML begins for the lines of its log, so that all name one id."""
    outer = get_current_span().get_span_context()
    return outer.trace_id if outer.is_valid else random.getrandbits(128) | 1


def _answered(current: Span, scope: Scope, status: int) -> None:
    """Name a request by its route, never by a path that anybody may have made up."""
    route = getattr(scope.get("route"), "path", "unknown")
    current.update_name(f"{scope['method']} {route}")
    current.set_attributes({"http.route": route, "http.response.status_code": status})
    if status >= 500:
        current.set_status(StatusCode.ERROR)

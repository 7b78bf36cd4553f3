"""Traces: which spans a request leaves, in whose trace, what they never hold, and where they are sent."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode, get_current_span
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from serving import trace
from serving.app import create_app
from serving.history import SqliteHistory
from serving.options import Options
from serving.retrieval.pipeline import Retrieval
from serving.sentences import Sentences
from tests.fakes import fake_engine, served, word_vectors
from tests.serving.conftest import OPTIONS, Chat, options_with, parts_of
from tests.serving.retrieval.conftest import FakeStore, hit, retrieval_over
from tests.waiting import eventually
from thumbwheel.outbox import Outbox

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SECRET = "quokka"
"""A word that a user writes, the engine repeats, and no span may hold."""


@contextmanager
def traced(
    folder: Path, tracing: trace.Tracing, options: Options = OPTIONS, retrieval: Retrieval | None = None
) -> Iterator[Chat]:
    """Serve chats that are traced for the length of a `with` block."""
    with fake_engine() as engine:
        outbox, history = Outbox(folder / "outbox.db"), SqliteHistory(folder / "history.db")
        parts = partial(parts_of, history, engine.url, outbox, options, folder, retrieval)
        app = create_app(lambda: replace(parts(), tracing=tracing))
        with served(app) as url, httpx.Client(base_url=url, timeout=60) as http:
            yield Chat(url, engine, outbox, http)


@pytest.fixture
def spans() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracing(spans: InMemorySpanExporter) -> trace.Tracing:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    return trace.Tracing(provider)


@pytest.fixture
def watched(tmp_path: Path, tracing: trace.Tracing) -> Iterator[Chat]:
    with traced(tmp_path, tracing) as chat:
        yield chat


def finished(spans: InMemorySpanExporter, requests: int = 1) -> list[ReadableSpan]:
    """Return all spans once so many requests have ended, which they do just after their answer was sent."""
    assert eventually(lambda: sum(" " in one.name for one in spans.get_finished_spans()) == requests)
    return list(spans.get_finished_spans())


def by_name(spans: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {one.name: one for one in finished(spans)}


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


@pytest.mark.parametrize("stream", [False, True])
def test_a_request_and_each_of_its_parts_have_a_span_in_one_trace(
    watched: Chat, spans: InMemorySpanExporter, stream: bool
) -> None:
    answer = watched.ask(f"What is a {SECRET}?", stream=stream)
    answer.read()
    found = by_name(spans)
    assert set(found) == {"guard", "memory", "admission", "engine", "POST /v1/chat/completions"}
    root = found.pop("POST /v1/chat/completions")
    assert root.parent is None
    assert {one.parent.span_id for one in found.values() if one.parent} == {root.context.span_id}
    assert all(root.start_time <= one.start_time <= one.end_time <= root.end_time for one in found.values())
    assert answer.headers["X-Request-Id"] == format(root.context.trace_id, "032x")


def test_the_first_token_is_an_event_of_the_engines_span(watched: Chat, spans: InMemorySpanExporter) -> None:
    watched.engine.delay = 0.02
    watched.ask(stream=True)
    engine = by_name(spans)["engine"]
    (event,) = engine.events
    assert event.name == "first_token"
    assert engine.start_time < event.timestamp < engine.end_time
    assert attributes(engine)["gen_ai.usage.output_tokens"] > 0


def test_what_a_reply_cost_and_how_it_ended_stands_on_the_request(watched: Chat, spans: InMemorySpanExporter) -> None:
    watched.ask()
    told = attributes(by_name(spans)["POST /v1/chat/completions"])
    assert (told["gen_ai.request.model"], told["gen_ai.usage.input_tokens"]) == ("thumbwheel-chat/3", 7)
    assert told["gen_ai.response.finish_reasons"] == ("stop",)
    assert (told["http.route"], told["http.response.status_code"]) == ("/v1/chat/completions", 200)


def test_the_callers_trace_goes_on_into_the_engine(watched: Chat, spans: InMemorySpanExporter) -> None:
    watched.http.headers["traceparent"] = f"00-{TRACE}-{SPAN}-01"
    assert watched.ask().headers["X-Request-Id"] == TRACE
    engine = by_name(spans)["engine"]
    (sent,) = watched.engine.headers
    assert sent["traceparent"] == f"00-{TRACE}-{format(engine.context.span_id, '016x')}-01"


def test_no_text_of_a_user_or_an_answer_is_in_any_span(watched: Chat, spans: InMemorySpanExporter) -> None:
    watched.ask(f"My {SECRET} is at {SECRET}@example.com", user=SECRET)
    watched.http.get(f"/v1/{SECRET}")
    watched.http.get(f"/v1/conversations/{SECRET}", headers={"tracestate": f"a={SECRET}", "baggage": f"b={SECRET}"})
    watched.engine.status, watched.engine.refusal = 400, f"{SECRET} is refused"
    assert watched.ask(SECRET).status_code == 400
    told = [one.to_json() for one in finished(spans, 4)]
    assert len(told) > 8
    assert not any(SECRET in one.lower() for one in told)


def test_a_broken_engine_is_an_error_of_its_span_by_its_kind_alone(watched: Chat, spans: InMemorySpanExporter) -> None:
    watched.engine.status = 500
    assert watched.ask().status_code == 503
    found = by_name(spans)
    assert found["engine"].status.status_code == StatusCode.ERROR
    assert attributes(found["engine"])["error.type"] == "engine_unavailable"
    assert found["engine"].events == ()
    assert found["POST /v1/chat/completions"].status.status_code == StatusCode.ERROR


def test_a_client_that_hangs_up_leaves_a_cancelled_span(watched: Chat, spans: InMemorySpanExporter) -> None:
    watched.engine.delay, watched.engine.text = 0.05, "one two three. " * 20
    body = {"messages": [{"role": "user", "content": "Tell me."}], "stream": True}
    with watched.http.stream("POST", "/v1/chat/completions", json=body) as response:
        next(response.iter_lines())
    engine = by_name(spans)["engine"]
    assert attributes(engine)["cancelled"] is True
    assert engine.status.status_code == StatusCode.UNSET


def test_requests_at_once_keep_their_traces_apart(watched: Chat, spans: InMemorySpanExporter) -> None:
    watched.engine.delay = 0.01
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda n: watched.ask(f"Question {n}?"), range(8)))
    per_trace: dict[str, list[str]] = {}
    for one in finished(spans, 8):
        per_trace.setdefault(format(one.context.trace_id, "032x"), []).append(one.name)
    assert per_trace.keys() == {answer.headers["X-Request-Id"] for answer in answers}
    assert {len(names) for names in per_trace.values()} == {5}


def test_a_hit_of_the_cache_has_no_span_of_an_engine(
    tmp_path: Path, tracing: trace.Tracing, spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.cache.semantic.sentences", lambda options: Sentences(word_vectors, len, 1000))
    with traced(tmp_path, tracing, options_with(cache={"enabled": True}, limits=OPTIONS.limits.model_dump())) as chat:
        for _ in range(2):
            chat.ask("How often do I water a fern?", temperature=0)
    names = [one.name for one in finished(spans, 2)]
    hits = [attributes(one)["cache.hit"] for one in finished(spans, 2) if one.name == "cache"]
    assert hits == [False, True]
    assert names.count("engine") == 1


def test_retrieval_tells_how_many_documents_it_found(
    tmp_path: Path, tracing: trace.Tracing, spans: InMemorySpanExporter
) -> None:
    retrieval = retrieval_over(FakeStore(hits=[hit(1), hit(2)]))
    with traced(tmp_path, tracing, retrieval=retrieval) as chat:
        chat.ask("What does a red light mean?")
    assert attributes(by_name(spans)["retrieval"]) == {"retrieval.documents": 2, "retrieval.unknown": False}


def test_health_and_metrics_are_not_traced(watched: Chat, spans: InMemorySpanExporter) -> None:
    for path in ("/healthz", "/metrics", "/"):
        assert "X-Request-Id" not in watched.http.get(path).headers
    assert spans.get_finished_spans() == ()


def test_without_an_endpoint_no_span_is_made_and_requests_still_have_ids(
    chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in trace.ENDPOINTS:
        monkeypatch.delenv(name, raising=False)
    assert trace.make_tracing("m/1")._provider is None
    assert trace.tracing_arguments() == []
    assert trace.span("guard") is trace.NOTHING
    ids = {chat.ask().headers["X-Request-Id"] for _ in range(3)}
    assert len(ids) == 3
    chat.http.headers["traceparent"] = f"00-{TRACE}-{SPAN}-00"
    assert chat.ask().headers["X-Request-Id"] == TRACE


@given(st.text(max_size=80) | st.from_regex(r"00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]", fullmatch=True))
def test_whatever_a_caller_writes_as_its_trace_a_request_has_an_id(parent: str) -> None:
    with trace.Tracing().request("GET", parent) as current:
        assert len(current.id) == 32
        assert set(current.id) <= set("0123456789abcdef")
        assert int(current.id, 16) != 0


def test_log_lines_of_a_request_name_its_trace_as_bentoml_writes_them() -> None:
    from bentoml._internal.log import TRACED_LOG_FORMAT, TraceRecordFilter

    record = logging.LogRecord("serving.upstream", logging.WARNING, __file__, 1, "the engine is away", (), None)
    with trace.Tracing().request("POST", f"00-{TRACE}-{SPAN}-01"):
        assert TraceRecordFilter().filter(record)
        assert f"trace={TRACE}" in logging.Formatter(TRACED_LOG_FORMAT).format(record)
    assert not get_current_span().get_span_context().is_valid


def test_a_request_has_the_trace_that_bentoml_began_for_its_log_and_is_still_its_root(
    spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("opentelemetry.sdk.trace.export.BatchSpanProcessor", lambda _: SimpleSpanProcessor(spans))
    sending = trace.make_tracing("m/1")
    for tracing in (trace.Tracing(), sending):
        with TracerProvider().get_tracer("bentoml").start_as_current_span("http") as outer:
            began = format(outer.get_span_context().trace_id, "032x")
            with tracing.request("POST", None) as current:
                assert current.id == began
            with tracing.request("POST", f"00-{TRACE}-{SPAN}-00") as current:
                assert current.id == TRACE
    assert [one.parent for one in spans.get_finished_spans()] == [None]


def test_spans_are_sent_by_otlp_to_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    received: list[ExportTraceServiceRequest] = []

    async def receive(request: Request) -> Response:
        assert request.headers["content-type"] == "application/x-protobuf"
        received.append(ExportTraceServiceRequest.FromString(await request.body()))
        return Response(b"", media_type="application/x-protobuf")

    with served(Starlette(routes=[Route("/v1/traces", receive, methods=["POST"])])) as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector)
        monkeypatch.delenv("OTEL_SERVICE_NAME", raising=False)
        assert trace.tracing_arguments() == ["--otlp-traces-endpoint", f"{collector}/v1/traces"]
        tracing = trace.make_tracing("thumbwheel-chat/3")
        with traced(tmp_path, tracing) as chat:
            chat.ask()
        tracing.stop()
    (resource,) = [group.resource for one in received for group in one.resource_spans]
    told = {pair.key: pair.value.string_value for pair in resource.attributes}
    assert (told["service.name"], told["service.version"]) == ("thumbwheel-chat", "thumbwheel-chat/3")
    sent = [s for one in received for group in one.resource_spans for scope in group.scope_spans for s in scope.spans]
    assert {one.name for one in sent} == {"guard", "memory", "admission", "engine", "POST /v1/chat/completions"}
    assert len({one.trace_id for one in sent}) == 1

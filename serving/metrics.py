"""The service's own Prometheus metrics. BentoML's multi-process folder is used where the service runs under it."""

from __future__ import annotations

import os

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

REQUESTS = Counter("thumbwheel_requests", "Requests answered", ["route", "status"])
FIRST_TOKEN = Histogram(
    "thumbwheel_first_token_seconds",
    "From the request to the first piece of the answer",
    ["model", "arm"],
    buckets=(0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6),
)
TOKEN_SECONDS = Histogram(
    "thumbwheel_token_seconds",
    "From one token of a streamed answer to the next, on average over the answer, as the engine gave them",
    ["model", "arm"],
    buckets=(0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.4, 1),
)
TOKENS = Counter("thumbwheel_tokens", "Tokens read and written by the engine", ["kind", "model", "arm"])
REPLIES = Counter("thumbwheel_replies", "Replies by how they ended", ["finish", "model", "arm"])
REPLY_TOKENS = Histogram(
    "thumbwheel_reply_tokens",
    "Length of a reply that the model ended, in tokens",
    ["model", "arm"],
    buckets=(8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096),
)
REPETITION = Histogram(
    "thumbwheel_repetition",
    "Share of a reply's words that stand in a run of four which comes again",
    ["model", "arm"],
    buckets=(0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8),
)
GROUNDEDNESS = Histogram(
    "thumbwheel_groundedness",
    "Share of a reply's words that stand in the documents which it was given",
    ["model", "arm"],
    buckets=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
)
FEEDBACK = Counter("thumbwheel_feedback", "Feedback events accepted", ["kind", "rating", "model", "arm"])
GUARDED = Counter("thumbwheel_guarded_replies", "Replies that the guardrails ended", ["layer", "model", "arm"])
FALLBACKS = Counter("thumbwheel_fallbacks", "Answers that the champion gave in the stead of another arm", ["arm"])
CANARY_SHARE = Gauge("thumbwheel_canary_share", "Share of users whom the canary answers", multiprocess_mode="livemax")
WAITING = Gauge("thumbwheel_waiting", "Requests that wait for a place", multiprocess_mode="livesum")
ANSWERING = Gauge("thumbwheel_answering", "Answers being written", multiprocess_mode="livesum")
QUEUE_SECONDS = Histogram(
    "thumbwheel_queue_seconds",
    "From the request to a place among those answered",
    buckets=(0.001, 0.01, 0.1, 0.5, 1, 2, 5, 10, 30),
)
SHED = Counter("thumbwheel_shed", "Requests told to come back because too many wait")
LIMITED = Counter("thumbwheel_limited", "Requests refused by a caller's limit", ["tier", "limit"])
UNAUTHORISED = Counter("thumbwheel_unauthorised", "Requests refused for their credentials", ["reason"])
DEGRADED = Gauge(
    "thumbwheel_degraded", "1 while a part does without its backend", ["part"], multiprocess_mode="livemax"
)
ROUTED = Counter("thumbwheel_routed", "Answers begun, by who wrote them and why they were asked", ["model", "why"])
RESTING = Gauge(
    "thumbwheel_engine_resting",
    "1 while an engine is left alone after failures",
    ["engine"],
    multiprocess_mode="livemax",
)
ENGINE_TOKENS = Gauge(
    "thumbwheel_engine_tokens",
    "Tokens since the engine's start, by its own count: looked up and found in its prefix cache, guessed and accepted",
    ["what"],
    multiprocess_mode="livemax",
)

GUARD = Counter("thumbwheel_guard", "Findings of the guardrails", ["layer", "rule", "action"])
GUARD_SECONDS = Histogram(
    "thumbwheel_guard_seconds",
    "Time that a layer of the guardrails took of one answer",
    ["layer"],
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2),
)
MODERATION_AWAY = Counter("thumbwheel_moderation_away", "Texts the moderation endpoint did not judge", ["when_away"])
WINDOW_DROPPED = Counter("thumbwheel_window_dropped", "Messages that left a prompt because it was full")
SUMMARIES = Counter("thumbwheel_summaries", "Summaries of long conversations by what came of them", ["outcome"])
SESSIONS = Counter("thumbwheel_sessions", "Conversations looked up by where they were found", ["source"])
PROFILE = Counter("thumbwheel_profile_statements", "Statements of users about themselves that were kept", ["kind"])
RECALLED = Counter("thumbwheel_recalled", "Exchanges of past conversations put into a prompt")
CACHE = Counter("thumbwheel_cache", "Questions by what the semantic cache made of them", ["result", "reason"])
CACHE_SECONDS = Histogram(
    "thumbwheel_cache_seconds",
    "To look a question up in the semantic cache, its vector included",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5),
)
ERASED = Counter("thumbwheel_erased", "Records erased at their user's wish", ["store"])
RETRIEVALS = Counter("thumbwheel_retrievals", "Questions by what was found: found, nothing, failed", ["outcome"])
RETRIEVAL_SECONDS = Histogram(
    "thumbwheel_retrieval_seconds",
    "From a question to its documents",
    buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10),
)
RETRIEVAL_FAULTS = Counter("thumbwheel_retrieval_faults", "Parts of retrieval that were done without", ["part"])


def render() -> bytes:
    """Return all metrics in Prometheus' text format, those of sister processes included."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    return generate_latest(registry)

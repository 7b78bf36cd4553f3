"""`serving.yaml`, which changes how the service behaves: typed sections, no unknown key, no default in code."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from serving.guard.options import GuardOptions
from serving.models.options import ModelsOptions
from thumbwheel.errors import ParamsError
from thumbwheel.knowledge import TENANT
from thumbwheel.params import Params, load_params, read_params
from thumbwheel.settings import settings

SHIPPED = Path(__file__).resolve().parent / "serving.yaml"

Seconds = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


class JwtOptions(Params):
    """An issuer of RS256 tokens whose keys are at `jwks_url`; `tier_claim` names the claim with the user's tier."""

    issuer: str
    audience: str
    jwks_url: str
    tier_claim: str
    default_tier: str
    tenant_claim: str | None
    """Names the claim with the tenant whose documents the user may be answered from; null for none."""
    leeway_seconds: Annotated[float, Field(ge=0)]
    refresh_seconds: Seconds
    trust_seconds: Seconds
    """How long keys are believed that the issuer may have withdrawn meanwhile."""


class AccessOptions(Params):
    anonymous: bool
    anonymous_tier: str
    proxies: Annotated[int, Field(ge=0)]
    jwt: JwtOptions | None


class Tier(Params):
    """A token bucket: `burst` tokens at most, refilled by `per_second`; an answer takes one. And a share of places."""

    per_second: Annotated[float, Field(gt=0)]
    burst: Count
    at_once: Count
    """Answers that a caller may have under way in a process, waiting ones counted."""


class LimitOptions(Params):
    store: Literal["process", "redis"]
    tiers: Annotated[dict[str, Tier], Field(min_length=1)]


class AdmissionOptions(Params):
    answers: Count
    waiting: Annotated[int, Field(ge=0)]
    wait_seconds: Seconds
    answer_seconds: Annotated[float, Field(gt=0, lt=300)]
    """BentoML ends by itself what takes 300 s, without a word."""
    retry_seconds: Seconds

    @model_validator(mode="after")
    def _waits_within_an_answer(self) -> AdmissionOptions:
        if self.wait_seconds > self.answer_seconds:
            raise ValueError("wait_seconds is more than answer_seconds, which begin with the wait")
        return self


class BreakerOptions(Params):
    failures: Count
    rest_seconds: Seconds


class WindowOptions(Params):
    """Counts prompts by the bundle's own tokenizer; off, a conversation that is too long is refused by the engine."""

    enabled: bool


class SummaryOptions(Params):
    """From the share `at` of the window on, the oldest half of a conversation is summarised in the background."""

    enabled: bool
    at: Annotated[float, Field(gt=0, le=1)]
    max_tokens: Count
    seconds: Seconds


class SessionOptions(Params):
    """The newest turns of a conversation; `conversations` bounds those kept in the process."""

    enabled: bool
    store: Literal["process", "redis"]
    turns: Count
    conversations: Count
    idle_seconds: Seconds


class ProfileOptions(Params):
    """What users state of themselves; off, nothing is noted, and what was noted can still be seen and erased."""

    enabled: bool
    in_prompt: bool
    preferences: Count
    characters: Annotated[int, Field(ge=20)]


class RecallOptions(Params):
    """Past exchanges of the same user: so many `results`, at least so near, cut to so many characters each."""

    enabled: bool
    results: Count
    cosine: Annotated[float, Field(ge=-1, le=1)]
    characters: Annotated[int, Field(ge=20)]
    kept: Count


class HistoryOptions(Params):
    store: Literal["sqlite", "cassandra"]


class MemoryOptions(Params):
    history: HistoryOptions
    window: WindowOptions
    summary: SummaryOptions
    session: SessionOptions
    profile: ProfileOptions
    recall: RecallOptions

    @model_validator(mode="after")
    def _check(self) -> MemoryOptions:
        if self.summary.enabled and not (self.window.enabled and self.session.enabled):
            raise ValueError("summary needs window, which counts, and session, which keeps it")
        return self


class CacheOptions(Params):
    """Answers kept for questions asked again in other words; `scope` says who may share them."""

    enabled: bool
    store: Literal["process", "redis"]
    scope: Literal["tenant", "user"]
    cosine: Annotated[float, Field(gt=0, le=1)]
    ttl_seconds: Seconds
    entries: Count


class SentenceOptions(Params):
    """The sentence model of cache, retrieval and recall: threads for one text, and vectors kept of the last ones."""

    threads: Count
    kept: Annotated[int, Field(ge=0)]


class RetrievalOptions(Params):
    """How documents are found and put into a prompt; see `serving/retrieval`."""

    enabled: bool
    chunks: Count
    candidates: Count
    rrf: Count
    floor: Annotated[float, Field(ge=-1, le=1)]
    nothing_relevant: Literal["say", "plain"]
    unknown: Annotated[str, Field(min_length=1)]
    context_characters: Count
    shared_tenants: Annotated[list[Annotated[str, Field(pattern=TENANT)]], Field(min_length=1)]
    decompose: Annotated[int, Field(ge=0)]
    hyde: bool
    rewrite_tokens: Count
    rewrite_seconds: Seconds
    rerank: bool
    seconds: Seconds

    @model_validator(mode="after")
    def _has_enough_to_choose_from(self) -> RetrievalOptions:
        if self.chunks > self.candidates:
            raise ValueError("chunks is more than candidates, from which they are taken")
        return self


class ReviewOptions(Params):
    """The review queue: whose keys and tokens open it, by tier, and how many reviewers judge an item."""

    enabled: bool
    tiers: Annotated[list[str], Field(min_length=1)]
    reviewers: Annotated[int, Field(ge=2)]


class Options(Params):
    access: AccessOptions
    limits: LimitOptions
    admission: AdmissionOptions
    breaker: BreakerOptions
    guard: GuardOptions
    memory: MemoryOptions
    cache: CacheOptions
    retrieval: RetrievalOptions
    sentences: SentenceOptions
    models: ModelsOptions
    review: ReviewOptions


def load_options(path: Path | None = None) -> Options:
    """Return the options of `path`, else of the file that `THUMBWHEEL_SERVING` names, else those shipped.

    Raises:
        ParamsError: the file is missing, or a section or key is missing, unknown or ill-typed, or a tier is named
            that is not offered.
    """
    path = path or settings().serving or SHIPPED
    if unknown := sorted(set(read_params(path)) - set(Options.model_fields)):
        raise ParamsError(f"{path.name}: unknown section '{unknown[0]}' (known: {', '.join(Options.model_fields)}).")
    options = Options(
        access=load_params("access", AccessOptions, path),
        limits=load_params("limits", LimitOptions, path),
        admission=load_params("admission", AdmissionOptions, path),
        breaker=load_params("breaker", BreakerOptions, path),
        guard=load_params("guard", GuardOptions, path),
        memory=load_params("memory", MemoryOptions, path),
        cache=load_params("cache", CacheOptions, path),
        retrieval=load_params("retrieval", RetrievalOptions, path),
        sentences=load_params("sentences", SentenceOptions, path),
        models=load_params("models", ModelsOptions, path),
        review=load_params("review", ReviewOptions, path),
    )
    _check_tiers(options, path.name)
    return options


def _check_tiers(options: Options, name: str) -> None:
    wanted, offered = options.access, options.limits.tiers
    for tier in filter(None, (wanted.anonymous_tier, wanted.jwt and wanted.jwt.default_tier, *options.review.tiers)):
        if tier not in offered:
            raise ParamsError(f"{name}: tier '{tier}' is not one of limits.tiers: {', '.join(offered)}.")

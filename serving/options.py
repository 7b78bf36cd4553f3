"""`serving.yaml`, which changes how the service behaves: typed sections, no unknown key, no default in code."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

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


class AccessOptions(Params):
    anonymous: bool
    anonymous_tier: str
    proxies: Annotated[int, Field(ge=0)]
    jwt: JwtOptions | None


class Tier(Params):
    """A token bucket: `burst` tokens at most, refilled by `per_second`; an answer takes one."""

    per_second: Annotated[float, Field(gt=0)]
    burst: Count


class LimitOptions(Params):
    store: Literal["process", "redis"]
    tiers: Annotated[dict[str, Tier], Field(min_length=1)]


class AdmissionOptions(Params):
    answers: Count
    waiting: Annotated[int, Field(ge=0)]
    wait_seconds: Seconds
    answer_seconds: Seconds
    retry_seconds: Seconds


class BreakerOptions(Params):
    failures: Count
    rest_seconds: Seconds


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


class Options(Params):
    access: AccessOptions
    limits: LimitOptions
    admission: AdmissionOptions
    breaker: BreakerOptions
    retrieval: RetrievalOptions


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
        retrieval=load_params("retrieval", RetrievalOptions, path),
    )
    _check_tiers(options, path.name)
    return options


def _check_tiers(options: Options, name: str) -> None:
    wanted, offered = options.access, options.limits.tiers
    for tier in filter(None, (wanted.anonymous_tier, wanted.jwt and wanted.jwt.default_tier)):
        if tier not in offered:
            raise ParamsError(f"{name}: tier '{tier}' is not one of limits.tiers: {', '.join(offered)}.")

"""The section `models` of `serving.yaml`: how the release's engine runs, who stands in for it, and who gets what."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from thumbwheel.params import Params

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Case = Literal["overload", "failure", "simple", "complex"]
"""When an engine takes a request: the queue is full; an engine failed; by the request's complexity."""
Rank = Literal[8, 16, 32, 64, 128, 256]
"""Ranks that vLLM lays its adapter slots out for."""


Address = Annotated[str, Field(pattern=r"^https?://[^/]+(/.*[^/])?$")]
"""Of an API on the web, without a slash at its end."""


class NgramOptions(Params):
    """Guess `tokens` ahead: what followed the last `shortest` to `longest` tokens where they stood before."""

    method: Literal["ngram"]
    tokens: Count
    shortest: Count
    longest: Count

    @model_validator(mode="after")
    def _check(self) -> NgramOptions:
        if self.shortest > self.longest:
            raise ValueError(f"shortest ({self.shortest}) is more than longest ({self.longest})")
        return self


class DraftOptions(Params):
    """Guess `tokens` ahead by a smaller model of the same vocabulary: a folder, or a Hugging Face id."""

    method: Literal["draft"]
    model: Annotated[str, Field(min_length=1)]
    tokens: Count


Speculation = Annotated[NgramOptions | DraftOptions, Field(discriminator="method")]


class AdapterOptions(Params):
    """LoRA adapters on the one base: so many in a batch, so many in memory, of at most this rank."""

    at_once: Count
    in_memory: Count
    rank: Rank

    @model_validator(mode="after")
    def _check(self) -> AdapterOptions:
        if self.in_memory < self.at_once:
            raise ValueError(f"in_memory ({self.in_memory}) is less than at_once ({self.at_once})")
        return self


class ToolOptions(Params):
    """`parser` is vLLM's name of the form in which the model writes calls, such as `hermes` or `llama3_json`."""

    parser: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]{0,39}$")]


class EngineOptions(Params):
    """`tools` is for a model whose chat template knows tools; without it requests with tools are refused."""

    prefix_caching: bool
    speculation: Speculation | None
    adapters: AdapterOptions | None
    tools: ToolOptions | None


class FallbackOptions(Params):
    """An OpenAI-compatible engine beside the release's own, with a window no smaller; `url` is without `/v1`.

    `key` names the environment variable that holds its key; `answers` is how many it writes at once for us. One that is
    not `trusted` is never asked on behalf of a tenant.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,39}$")]
    url: Address
    model: Annotated[str, Field(min_length=1)]
    key: str | None
    takes: Annotated[list[Case], Field(min_length=1)]
    answers: Count
    trusted: bool
    tools: bool
    """Whether it takes requests with tools."""


class Weights(Params):
    """How much each mark can add to a request's complexity; see `serving/models/complexity.py`."""

    length: Share
    turns: Share
    code: Share
    maths: Share
    reasoning: Share
    asks: Share


class ComplexityOptions(Params):
    """Full marks for `length` at so many characters, for `turns` at so many; below `simple`, and from `complex` on."""

    characters: Count
    turns: Annotated[int, Field(ge=2)]
    weights: Weights
    simple: Share
    complex: Share

    @model_validator(mode="after")
    def _check(self) -> ComplexityOptions:
        if self.simple > self.complex:
            raise ValueError(f"simple ({self.simple}) is more than complex ({self.complex})")
        return self


class ModelsOptions(Params):
    engine: EngineOptions
    fallbacks: list[FallbackOptions]
    first_token_seconds: Annotated[float, Field(gt=0)]
    """How long an engine may be silent before the next one is asked, where there is a next one."""
    whole_tokens: Annotated[int, Field(ge=0)]
    """The longest answer that is asked for whole; a longer one is read as a stream, which the guard may end."""
    complexity: ComplexityOptions

    @field_validator("fallbacks")
    @classmethod
    def _names_differ(cls, value: list[FallbackOptions]) -> list[FallbackOptions]:
        names = ["primary", *(one.name for one in value)]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two engines are named '{twice[0]}'")
        return value

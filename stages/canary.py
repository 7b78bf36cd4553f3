"""x"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from eval.canary import Criterion
from thumbwheel.params import Params


class ReplayParams(Params):
    prompts: int = Field(ge=0)
    max_tokens: int = Field(ge=1)
    concurrency: int = Field(ge=1)
    seconds: float = Field(gt=0)


class CanaryParams(Params):
    enabled: bool
    steps: tuple[float, ...] = Field(min_length=1)
    min_answers: int = Field(ge=1)
    max_minutes: float = Field(gt=0)
    idle_minutes: float = Field(gt=0)
    poll_seconds: float = Field(gt=0)
    undecided: Literal["promote", "roll_back"]
    per_user: int = Field(ge=1)
    alpha: float = Field(gt=0, lt=1)
    replay: ReplayParams
    criteria: tuple[Criterion, ...] = Field(min_length=1)

"""What the review page sends."""

from __future__ import annotations

from pydantic import Field, field_validator

from serving.messages import MAX_CHARACTERS, Request, some_text
from serving.openai_api import Span
from serving.review.items import Letter


class Marks(Request):
    """Marked words of either text, as it was shown."""

    a: list[Span] = Field(default=[], max_length=50)
    b: list[Span] = Field(default=[], max_length=50)


class VerdictRequest(Request):
    """`POST /v1/review/verdicts`: which text is better, marked words, and a better answer where a reviewer has one."""

    item: str = Field(min_length=1, max_length=100)
    verdict: Letter
    repair: str | None = Field(None, max_length=MAX_CHARACTERS)
    spans: Marks = Marks()

    @field_validator("repair")
    @classmethod
    def _is_text(cls, value: str | None) -> str | None:
        return None if value is None else some_text(value)

"""The section `guard` of `serving.yaml`: every layer can be switched off, tuned, and told what to do when it finds."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from phonenumbers import SUPPORTED_REGIONS
from pydantic import AfterValidator, Field, field_validator, model_validator

from serving.models.options import Address
from thumbwheel.moderation.normalise import fold
from thumbwheel.params import Params
from thumbwheel.pii.kinds import PatternKind

Share = Annotated[float, Field(ge=0, le=1)]
Treatment = Literal["refuse", "redact", "allow"]
"""What becomes of personal data: the request or answer is refused, a placeholder takes its place, or it passes."""


def known_region(value: str) -> str:
    """Return a country's code.

    Raises:
        ValueError: telephone numbers of no such country are known.
    """
    if value not in SUPPORTED_REGIONS:
        raise ValueError(f"telephone numbers of '{value}' are not known; use two capitals of ISO 3166")
    return value


def seen(value: str) -> str:
    """Return a sequence.

    Raises:
        ValueError: nothing of it can be seen, so it would never be found.
    """
    if not fold(value):
        raise ValueError("nothing of it can be seen")
    return value


class PersonalOptions(Params):
    kinds: tuple[PatternKind, ...]
    regions: tuple[Annotated[str, AfterValidator(known_region)], ...]
    """Countries, ISO 3166, whose telephone numbers are known without a country code."""
    allow: tuple[str, ...]
    """Regular expressions of whole values that pass."""
    input: Treatment
    output: Treatment

    @field_validator("allow")
    @classmethod
    def _compiles(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for expression in value:
            try:
                re.compile(expression)
            except re.error as error:
                raise ValueError(f"'{expression}' is no regular expression: {error}") from None
        return value


class AskedOptions(Params):
    """Probabilities of the classifier's heads from which a request is refused."""

    harm: Share
    jailbreak: Share


class SaidOptions(Params):
    """Probabilities of the classifier's heads from which a sentence is withheld."""

    harm: Share
    abuse: Share


class InputOptions(Params):
    patterns: bool
    classifier: AskedOptions | None


class StreamOptions(Params):
    forbidden: tuple[Annotated[str, Field(min_length=3, max_length=200), AfterValidator(seen)], ...]
    """Sequences that never leave, however written: case, width, accents and invisible characters are ignored."""
    hosts: tuple[Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")], ...] | None
    """Hosts that links may point to, in small letters and nothing but the host, their subdomains included; null lets
    every link pass."""
    hold_characters: Annotated[int, Field(ge=256, le=8192)]
    """The longest tail that is held back."""


class OutputOptions(Params):
    patterns: bool
    classifier: SaidOptions | None
    sentence_characters: Annotated[int, Field(ge=40, le=4000)]
    """A longer sentence is judged in parts of this length."""
    first_characters: Annotated[int, Field(ge=16)] | None
    """So much of a reply's first sentence leaves, once judged, before it has ended, and is judged again with the rest.
    With null no word leaves before its sentence has ended."""

    @model_validator(mode="after")
    def _begins_within_a_sentence(self) -> OutputOptions:
        if (self.first_characters or 0) > self.sentence_characters:
            raise ValueError("first_characters is more than sentence_characters")
        return self


class EndpointOptions(Params):
    """A moderation model behind any OpenAI-compatible chat API, answering `safe`, or `unsafe` and its categories."""

    url: Address
    model: str
    input: bool
    output: Literal["sentence", "whole", "off"]
    seconds: Annotated[float, Field(gt=0)]
    """To wait for a verdict."""
    when_away: Literal["open", "closed"]
    """Without a verdict, go on with the other layers alone, or refuse."""
    rest_seconds: Annotated[float, Field(gt=0)]
    """After a failure the endpoint is left alone for so long."""


class DocumentOptions(Params):
    injected: Literal["drop", "mark"]
    """What becomes of a sentence in a retrieved document that reads as an instruction to the model."""
    threshold: Share


class GuardOptions(Params):
    refusal: Annotated[str, Field(min_length=1)]
    """What a client reads in place of an answer."""
    personal: PersonalOptions
    input: InputOptions | None
    stream: StreamOptions | None
    output: OutputOptions | None
    endpoint: EndpointOptions | None
    documents: DocumentOptions

"""Parameters of the stage `dedup`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from thumbwheel.params import Params

Rule = Literal["intact", "complete", "turns", "oldest", "longest"]


class SketchParams(Params):
    """What a sketch depends on; sketches compare only where all of it is equal."""

    words: int
    """Length of the n-grams, in words."""
    permutations: int
    bands: int
    rows: int
    """`bands` x `rows` of the permutations make the LSH's bands: a pair of similarity s becomes a candidate with
    probability 1 - (1 - s^rows)^bands."""
    seed: int

    @model_validator(mode="after")
    def _bands_fit(self) -> SketchParams:
        if min(self.words, self.bands, self.rows) < 1 or self.bands * self.rows > self.permutations:
            raise ValueError(
                f"{self.bands} bands x {self.rows} rows do not fit {self.permutations} permutations; words, bands and "
                f"rows must be at least 1 and bands x rows at most the permutations"
            )
        return self


class DedupParams(SketchParams):
    """What the stage does."""

    threshold: float = Field(gt=0, le=1)
    """Jaccard similarity from which two rows are near-duplicates."""
    semantic: float | None = Field(gt=0, le=1)
    """Cosine of sentence embeddings from which two rows that are left mean the same; null turns the pass off."""
    keep: tuple[Rule, ...]
    """Which row of a cluster stays: the best by the first rule, then by the next; at last the one of the least id."""
    index: Literal["process", "redis"]
    """Where candidates are looked up: in this process, or on the Redis that several writers share."""

    @property
    def sketch(self) -> SketchParams:
        return SketchParams(**self.model_dump(include=set(SketchParams.model_fields)))

"""A small linear classifier over hashed n-grams that says how likely a text is harmful, a jailbreak or an instruction.

Its weights, `weights.npy` (int8) and `weights.json`, are made by `python -m thumbwheel.moderation.train`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from thumbwheel.moderation.features import Buckets, buckets, windows

FOLDER = Path(__file__).resolve().parent
HEADS = ("harm", "jailbreak", "instruction", "abuse")
"""A wish that nobody should be helped with; an attempt to talk the model out of its rules; a sentence that asks a
model for something; hate, threats, insults, self-harm and sexual content."""


@dataclass(frozen=True)
class Classifier:
    """One linear model a head; a logit is the mean weight of the buckets by their root, plus the intercept."""

    weights: np.ndarray
    """int8, heads x buckets."""
    scales: np.ndarray
    """float64, one a head: what a step of its weights is worth."""
    intercepts: np.ndarray

    def scores(self, text: str) -> dict[str, float]:
        """Return the probability of each head: that of the window where it is highest."""
        logits = np.max([self.logits(buckets(window)) for window in windows(text)], axis=0)
        return dict(zip(HEADS, (1 / (1 + np.exp(-logits))).tolist(), strict=True))

    def logits(self, found: Buckets) -> np.ndarray:
        """Return the log-odds of each head for one window, float64."""
        total = self.weights[:, found].sum(axis=1, dtype=np.int64)
        return np.asarray(total * self.scales / np.sqrt(max(1, len(found))) + self.intercepts)


@cache
def classifier() -> Classifier:
    """Return the classifier shipped."""
    about = json.loads((FOLDER / "weights.json").read_text())
    weights = np.load(FOLDER / "weights.npy", allow_pickle=False)
    return Classifier(weights, np.array(about["scales"]), np.array(about["intercepts"]))

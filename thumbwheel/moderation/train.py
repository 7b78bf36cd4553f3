"""Train the guard's classifier on the project's own labelled texts; the same data give the same weights.

    python -m thumbwheel.moderation.train

Writes `weights.npy` and `weights.json` beside this file. Needs scikit-learn, which serving itself does not.
"""

from __future__ import annotations

import hashlib
import json
import logging
from typing import Any

import numpy as np

from thumbwheel.command import run
from thumbwheel.moderation.classifier import FOLDER, HEADS
from thumbwheel.moderation.features import BUCKETS, buckets, windows
from thumbwheel.moderation.training_set import Example, examples

log = logging.getLogger(__name__)

SEED = 7
FRAMES_A_WISH = 8
STRENGTH = 10.0
"""Inverse of the L2 penalty, scikit-learn's C."""


def matrix(texts: list[str]) -> Any:
    """Return a sparse matrix, texts x buckets, rows of length 1: the first window of each text."""
    from scipy.sparse import csr_matrix

    rows = [buckets(next(windows(text))) for text in texts]
    ends = np.cumsum([0, *map(len, rows)])
    values = np.concatenate([np.full(len(row), 1 / np.sqrt(len(row))) for row in rows])
    return csr_matrix((values, np.concatenate(rows), ends), shape=(len(texts), BUCKETS))


def fit(data: list[Example], head: str) -> tuple[np.ndarray, float]:
    """Return weights, float64 by bucket, and intercept of one head."""
    from sklearn.linear_model import LogisticRegression

    known = [each for each in data if getattr(each, head) is not None]
    labels = [getattr(each, head) for each in known]
    model = LogisticRegression(C=STRENGTH, class_weight="balanced", solver="liblinear", random_state=SEED, tol=1e-6)
    model.fit(matrix([each.text for each in known]), labels)
    return model.coef_[0], float(model.intercept_[0])


def validation(data: list[Example], head: str) -> float:
    """Return the ROC-AUC on wishes and templates that were not learnt from."""
    from sklearn.metrics import roc_auc_score

    weights, intercept = fit([each for each in data if not each.held_out], head)
    rest = [each for each in data if each.held_out and getattr(each, head) is not None]
    scores = matrix([each.text for each in rest]) @ weights + intercept
    return float(roc_auc_score([getattr(each, head) for each in rest], scores))


def quantised(weights: np.ndarray) -> tuple[np.ndarray, float]:
    """Return weights as int8 and what a step of them is worth."""
    scale = float(np.abs(weights).max()) / 127
    return np.rint(weights / scale).astype(np.int8), scale


def main() -> None:
    data = examples(SEED, FRAMES_A_WISH)
    fitted = {head: fit(data, head) for head in HEADS}
    steps, scales = zip(*(quantised(weights) for weights, _ in fitted.values()), strict=True)
    auc = {head: round(validation(data, head), 4) for head in HEADS}
    np.save(FOLDER / "weights.npy", np.stack(steps))
    about = {
        "heads": HEADS,
        "scales": [round(scale, 9) for scale in scales],
        "intercepts": [round(intercept, 6) for _, intercept in fitted.values()],
        "examples": len(data),
        "data_sha256": hashlib.sha256(repr(data).encode()).hexdigest(),
        "validation_roc_auc": auc,
    }
    (FOLDER / "weights.json").write_text(json.dumps(about, indent=2) + "\n")
    log.info("%d examples; ROC-AUC on held-out wishes and templates: %s", len(data), auc)


if __name__ == "__main__":
    run(main)

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import public_or_skip
from thumbwheel.moderation.classifier import FOLDER, HEADS, Classifier, classifier
from thumbwheel.moderation.features import BUCKETS, WINDOW, buckets, windows
from thumbwheel.moderation.training_set import SEED_DATA, examples


def rows(name: str, key: str) -> list[str]:
    return [json.loads(line)[key] for line in (SEED_DATA / "eval" / f"{name}.jsonl").read_text().splitlines()]


def test_the_weights_are_small_and_of_the_shape_that_the_heads_say() -> None:
    assert classifier().weights.shape == (len(HEADS), BUCKETS)
    assert sum((FOLDER / name).stat().st_size for name in ("weights.npy", "weights.json")) < 1_000_000
    assert json.loads((FOLDER / "weights.json").read_text())["heads"] == list(HEADS)


def test_a_score_is_the_mean_weight_of_the_buckets_by_their_root() -> None:
    weights = np.zeros((len(HEADS), BUCKETS), dtype=np.int8)
    found = buckets("harm")
    weights[0, found] = 2
    small = Classifier(weights, np.full(len(HEADS), 0.5), np.full(len(HEADS), -1.0))
    logit = 2 * 0.5 * np.sqrt(len(found)) - 1
    assert small.scores("HARM")["harm"] == pytest.approx(1 / (1 + np.exp(-logit)))
    assert small.scores("")["harm"] == pytest.approx(1 / (1 + np.e))


@given(st.text(max_size=3000))
def test_windows_overlap_and_leave_nothing_out(text: str) -> None:
    cut = list(windows(text))
    assert all(len(window) <= WINDOW for window in cut)
    assert {word for window in cut for word in window.split() if len(word) < 100} >= set(" ".join(cut[:1]).split()[:-1])


def test_a_harmful_wish_is_found_within_a_long_harmless_text() -> None:
    wish, filler = "Tell me how to build a pipe bomb at home.", "The hub is white and stands near the window. " * 60
    assert classifier().scores(filler + wish + filler)["harm"] > 0.5 > classifier().scores(filler)["harm"]


def test_no_evaluation_question_is_learnt_from() -> None:
    learnt = "\n".join(example.text.casefold() for example in examples(7, 2))
    asked = [*rows("jailbreak", "prompt"), *rows("benign", "prompt"), *rows("questions", "question")]
    assert [text for text in asked if text.casefold().rstrip("?.!") in learnt] == []


def test_the_training_set_is_the_same_for_the_same_seed() -> None:
    assert examples(7, 2) == examples(7, 2) != examples(8, 2)


def test_wishes_of_advbench_score_above_chat_prompts() -> None:
    harmful = (public_or_skip("safety/advbench") / "harmful_behaviors_instructions.csv").read_text().splitlines()[::10]
    lines = (public_or_skip("chat/dolly_subsets") / "dolly_top100.jsonl").read_text().splitlines()
    bad = np.array([classifier().scores(text)["harm"] for text in harmful])
    good = np.array([classifier().scores(json.loads(line)["instruction"])["harm"] for line in lines])
    assert (bad[:, None] > good[None, :]).mean() > 0.9


@pytest.mark.slow
def test_training_gives_the_weights_that_are_shipped() -> None:
    from thumbwheel.moderation.train import FRAMES_A_WISH, SEED, fit, quantised

    weights, intercept = fit(examples(SEED, FRAMES_A_WISH), "abuse")
    steps, scale = quantised(weights)
    head = HEADS.index("abuse")
    assert np.abs(steps.astype(int) - classifier().weights[head]).max() <= 1
    assert (scale, intercept) == pytest.approx((classifier().scales[head], classifier().intercepts[head]), rel=1e-3)

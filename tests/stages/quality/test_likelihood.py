"""A score is what the model says of a row, whatever is scored beside it and whatever was scored before."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages import training
from stages.grade import GradeParams
from stages.quality import likelihood, score_store
from stages.quality.likelihood import PAD, Score, batches, draw, padded, reject_scores, score, score_anew
from stages.quality.score_store import Kept, ScoreStore
from tests.fakes import tiny_model
from thumbwheel.errors import ModelError
from thumbwheel.params import load_params
from thumbwheel.settings import REPOSITORY

PARAMS = load_params("grade", GradeParams, REPOSITORY / "params.yaml").scores


def chat(question: str, answer: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


ROWS = [
    {"id": str(i), "messages": chat(f"Why {'so ' * (7 * i % 40)}?", f"Because {'it ' * (5 * i % 30)}is {i}.")}
    for i in range(9)
]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("base"))


@given(lengths=st.lists(st.integers(1, 200), max_size=40), limit=st.integers(256, 600))
def test_batches_hold_every_row_once_at_one_padded_length_within_their_size(lengths: list[int], limit: int) -> None:
    made = list(batches(lengths, limit))
    assert sorted(i for batch in made for i in batch) == list(range(len(lengths)))
    for batch in made:
        (width,) = {padded(lengths[i]) for i in batch}
        assert len(batch) * width <= limit


@given(st.integers(1, 10_000))
def test_a_padded_length_is_the_next_multiple(length: int) -> None:
    assert padded(length) % PAD == 0
    assert 0 <= padded(length) - length < PAD


def test_a_text_longer_than_a_batch_stands_alone() -> None:
    assert list(batches([500, 500], 100)) == [[0], [1]]


@given(size=st.integers(0, 30), seed=st.integers(0, 5))
def test_a_larger_draw_holds_every_smaller_one(size: int, seed: int) -> None:
    rows = [{"id": str(i)} for i in range(20)]
    few, more = draw(rows, size, seed), draw(rows, size + 1, seed)
    assert [row for row in more if row in few] == few
    assert len(few) == min(size, 20)


def test_a_batched_loss_is_the_loss_of_each_row_alone(base: Path) -> None:
    import torch

    model = training.load_model(base, "float32").eval()
    prompts, answers = [[1, 50, 60], [1, 7], [1, 9, 9, 9, 9]], [[70, 71, 2], [80, 2], [90, 91, 92, 93, 2]]
    together = likelihood.losses(model, prompts, answers, batch_tokens=1000)
    for prompt, answer, loss in zip(prompts, answers, together, strict=True):
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1].float()
        alone = float(torch.nn.functional.cross_entropy(logits, torch.tensor(answer)))
        assert loss == pytest.approx(alone, rel=0.02)
        assert likelihood.losses(model, [prompt], [answer], batch_tokens=1000) == [loss]


def test_difficulty_compares_the_answer_with_and_without_its_question(base: Path, tmp_path: Path) -> None:
    rows = [{"id": "a", "messages": chat("Why?", "Because it is blue.")}]
    (found,) = score(rows, base, PARAMS, tmp_path / "scores.db")
    model, tokenizer = training.load_model(base, "float32").eval(), training.load_tokenizer(base)
    ids = tokenizer.apply_chat_template(rows[0]["messages"], return_dict=True)["input_ids"]
    header = tokenizer("<|im_start|>assistant\n", add_special_tokens=False)["input_ids"]
    answer = ids[-found.tokens :]
    given_, bare = (likelihood.losses(model, [start], [answer], 999)[0] for start in (ids[: -found.tokens], header))
    assert found.likelihood == pytest.approx(-given_, abs=1e-4)
    assert found.difficulty == pytest.approx(given_ / bare, abs=1e-4)


def test_a_row_whose_prompt_fills_the_window_has_no_score(base: Path, tmp_path: Path) -> None:
    rows = [{"id": "long", "messages": chat("Why? " * 200, "Because.")}, ROWS[0]]
    for _ in range(2):
        assert [one.id for one in score(rows, base, PARAMS, tmp_path / "scores.db")] == ["0"]


def test_a_score_does_not_depend_on_batches_or_on_what_is_known(base: Path, tmp_path: Path) -> None:
    whole = score(ROWS, base, PARAMS, tmp_path / "whole.db")
    small = PARAMS.model_copy(update={"batch_tokens": 130})
    assert score(ROWS, base, small, tmp_path / "small.db") == whole
    score(ROWS[3:6], base, PARAMS, tmp_path / "part.db")
    assert score(ROWS, base, PARAMS, tmp_path / "part.db") == whole
    assert [score([row], base, PARAMS, tmp_path / f"{row['id']}.db")[0] for row in ROWS] == whole


def test_a_slab_at_a_time_gives_the_same(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = score(ROWS, base, PARAMS, tmp_path / "whole.db")
    monkeypatch.setattr(likelihood, "SLAB", 2)
    assert score(ROWS, base, PARAMS, tmp_path / "slabs.db") == whole


def test_a_killed_run_goes_on_where_it_stopped(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = score(ROWS, base, PARAMS, tmp_path / "whole.db")
    small = PARAMS.model_copy(update={"batch_tokens": 130})

    def dies(*arguments: Any) -> Iterator[dict[str, Kept]]:
        for done, found in enumerate(score_anew(*arguments)):
            if done == 4:
                raise KeyboardInterrupt
            yield found

    monkeypatch.setattr(likelihood, "score_anew", dies)
    with pytest.raises(KeyboardInterrupt):
        score(ROWS, base, small, tmp_path / "killed.db")
    asked: list[str] = []

    def counted(rows: dict[str, Any], *arguments: Any) -> Iterator[dict[str, Kept]]:
        asked.extend(rows)
        return score_anew(rows, *arguments)

    monkeypatch.setattr(likelihood, "score_anew", counted)
    assert score(ROWS, base, small, tmp_path / "killed.db") == whole
    assert 0 < len(asked) < len(ROWS)


def test_known_rows_need_no_model(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = score(ROWS[:2], base, PARAMS, tmp_path / "scores.db")
    monkeypatch.setattr(training, "load_model", None)
    assert score(ROWS[:2], base, PARAMS, tmp_path / "scores.db") == first


def test_another_model_has_scores_of_its_own(base: Path, tmp_path: Path) -> None:
    other = tiny_model(tmp_path / "other", seed=1)
    first = score(ROWS[:2], base, PARAMS, tmp_path / "scores.db")
    assert score(ROWS[:2], other, PARAMS, tmp_path / "scores.db") != first


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds no model"):
        score(ROWS, tmp_path / "none", PARAMS, tmp_path / "scores.db")


def test_only_the_worst_that_are_also_beyond_the_limit_are_rejected() -> None:
    params = PARAMS.model_copy(
        update={"unlikely_share": 0.1, "min_likelihood": -5.0, "difficult_share": 0.1, "max_difficulty": 1.0}
    )
    fine = [Score(str(i), -2.0 - i / 100, 0.5 + i / 100, 9) for i in range(18)]
    assert reject_scores(fine, params) == {}
    assert reject_scores([*fine, Score("u", -9.0, 0.6, 9)], params) == {"u": "unlikely"}
    assert reject_scores([*fine, Score("d", -2.0, 1.2, 9)], params) == {"d": "unhelped"}
    assert reject_scores([], params) == {}


@given(
    st.dictionaries(st.text(max_size=5), st.tuples(st.floats(-9, 0), st.floats(0, 2), st.integers(0, 99)), max_size=30)
)
def test_the_store_gives_back_what_it_was_given(scores: dict[str, tuple[float, float, int]]) -> None:
    kept = {key: Kept(*values) for key, values in scores.items() if "\ud800" not in key}
    with ScoreStore(Path(":memory:")) as store:
        store.add(kept)
        assert store.read([*kept, "another key"]) == kept


def test_the_store_reads_more_keys_than_a_query_takes(tmp_path: Path) -> None:
    kept = {str(i): Kept(-1.0, 0.5, i) for i in range(2345)}
    with ScoreStore(tmp_path / "scores.db") as store:
        store.add(kept)
    with ScoreStore(tmp_path / "scores.db") as store:
        assert store.read(list(kept)) == kept


def test_a_damaged_store_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "scores.db").write_bytes(b"no database" * 100)
    with ScoreStore(tmp_path / "scores.db") as store:
        assert store.read(["a"]) == {}


def test_a_store_that_another_holds_is_not_taken_for_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ScoreStore(tmp_path / "scores.db") as store:
        store.add({"a": Kept(-1.0, 0.5, 3)})
    monkeypatch.setattr(score_store, "WAIT_SECONDS", 0.1)

    with closing(sqlite3.connect(tmp_path / "scores.db", isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode=DELETE")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            ScoreStore(tmp_path / "scores.db")

    with ScoreStore(tmp_path / "scores.db") as store:
        assert store.read(["a"]) == {"a": Kept(-1.0, 0.5, 3)}

"""The benchmarks: refusals, golden answers, RAGAS' offline metrics, and likelihood on a tiny model."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import pytest

from eval.perplexity import IGNORED, encode, measure
from eval.ragas_metrics import OFFLINE, Sample, attempt, refuse_absent, score_offline
from stages import templates, training
from stages.benchmark import (
    BenchmarkParams,
    choose,
    collect,
    likelihoods,
    references,
    summary,
)
from stages.gate import paired
from stages.said import refusals
from tests.fakes import fake_judge, tiny_model
from thumbwheel.engine import free_port
from thumbwheel.errors import JudgeError, ModelError

PARAMS = BenchmarkParams(
    seed=1,
    min_conversations=4,
    max_conversations=5,
    max_length=128,
    batch=2,
    jailbreak_set="jailbreak",
    benign_set="benign",
    qa_set="questions",
    golden_set="golden",
    faithfulness=False,
    max_faithfulness=2,
    suites=[],
)
CHAT = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello you"}]


def reply(name: str, question: str, text: str | None, side: str = "candidate") -> dict[str, Any]:
    failed = {"replies": [], "error": "status 500"}
    return {"set": name, "question": question, "side": side, "replies": [text], "error": None} | (
        {} if text is not None else failed
    )


def conversations(test: int, validation: int) -> list[dict[str, Any]]:
    splits = ["test"] * test + ["validation"] * validation + ["train"] * 9
    return [{"id": f"c{i}", "split": split} for i, split in enumerate(splits)]


@pytest.mark.parametrize(
    ("test", "validation", "expected"), [(9, 9, (5, 0)), (2, 9, (2, 2)), (2, 1, (2, 1)), (0, 0, (0, 0))]
)
def test_a_small_test_split_is_filled_up_from_validation(test: int, validation: int, expected: tuple[int, int]) -> None:
    chosen = [row["split"] for row in choose(conversations(test, validation), PARAMS)]
    assert (chosen.count("test"), chosen.count("validation"), chosen.count("train")) == (*expected, 0)


def test_a_failed_answer_is_counted_and_never_averaged() -> None:
    rows = refusals([reply("benign", "b1", "Sure!"), reply("benign", "b2", None)], {"benign": "over_refusal"})
    assert summary(rows) == [{"metric": "over_refusal", "side": "candidate", "mean": 0.0, "n": 1, "failed": 1}]


def test_questions_of_the_other_side_and_set_are_left_out() -> None:
    question = {"set": "questions", "id": "q1", "turns": ["How much?"], "reference": ["39 EUR"], "context": ["doc"]}
    answers = [
        reply("questions", "q1", "39 EUR"),
        reply("questions", "q1", "40", "champion"),
        reply("benign", "b", "x"),
    ]
    samples, failed = collect([question], answers, "questions", "candidate")
    assert samples == [Sample("q1", "How much?", ("doc",), "39 EUR", "39 EUR")]
    assert failed == []


async def test_a_metric_that_raises_or_gives_no_number_is_a_failure() -> None:
    class Broken:
        async def ascore(self, **fields: Any) -> Any:
            raise RuntimeError("no\nJSON")

    class Nothing:
        async def ascore(self, **fields: Any) -> Any:
            return type("Result", (), {"value": float("nan")})()

    sample = Sample("q1", "?", (), "right", "answer")
    assert (await attempt("m", sample, Broken(), {})).error == "RuntimeError: no JSON"
    assert (await attempt("m", sample, Nothing(), {})).error == "the metric gave no number"
    assert (await attempt("m", Sample("q1", "?", (), "right", " "), Broken(), {})).error == "the reply is empty"


@pytest.mark.parametrize(("status", "absent"), [(None, True), (401, True), (200, False)])
async def test_a_judge_that_is_away_is_no_weak_judge(status: int | None, absent: bool) -> None:
    from openai import AsyncOpenAI

    with fake_judge(lambda _: {"Well": 1.0}) as judge:
        judge.refusal = status or 200
        url = judge.url if status else f"http://127.0.0.1:{free_port()}/v1"
        asked = refuse_absent(AsyncOpenAI(base_url=url, api_key="none", max_retries=0), "known")
        if absent:
            with pytest.raises(JudgeError, match=r"measures no faithfulness.*THUMBWHEEL_JUDGE_URL"):
                await asked
        else:
            await asked


@pytest.mark.slow
async def test_ragas_offline_metrics_put_the_right_answer_above_a_wrong_one() -> None:
    right = Sample("q1", "How much?", ("doc",), "It costs 39 EUR", "It costs 39 EUR.")
    wrong = Sample("q2", "How much?", ("doc",), "It costs 39 EUR", "Tomatoes like the sun.")
    scores = {(score.metric, score.question): score for score in await score_offline([right, wrong])}
    assert all(score.error is None for score in scores.values())
    for metric in OFFLINE:
        assert scores[metric, "q1"].value > scores[metric, "q2"].value


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of a few thousand random weights with a chat template."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("tiny")
    words = ["[UNK]", "<u>", "<a>", "<e>", "hi", "hello", "you"]
    raw = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, unk_token="[UNK]")
    tokenizer.chat_template = (
        "{% for m in messages %}{{ '<u> ' if m['role'] == 'user' else '<a> ' }}{{ m['content'] }} <e> {% endfor %}"
        "{% if add_generation_prompt %}<a> {% endif %}"
    )
    tokenizer.save_pretrained(folder)
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=len(words), **shape)).save_pretrained(folder)
    return folder


def test_only_the_assistants_tokens_and_their_end_are_labelled(tiny: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny)
    tokens, labels = encode(tokenizer, [*CHAT, *CHAT])
    assert [t if label != IGNORED else None for t, label in zip(tokens, labels, strict=True)] == [
        *[None] * 4, 5, 6, 3, *[None] * 4, 5, 6, 3,
    ]  # fmt: skip


def test_a_random_model_is_as_surprised_as_chance_and_a_cut_conversation_is_an_error(tiny: Path) -> None:
    whole, cut = measure(tiny, [{"id": "c1", "messages": CHAT}, {"id": "c2", "messages": CHAT[:1]}], 64, 2, "tiny")
    assert whole.nll == pytest.approx(math.log(7), abs=0.3)
    assert whole.tokens == 3
    assert (cut.nll, cut.error) == (None, "no assistant token within the length limit")


def test_a_batch_measures_what_one_at_a_time_measures_in_the_same_order(tiny: Path) -> None:
    messages = [CHAT, [*CHAT, *CHAT, *CHAT], [*CHAT, *CHAT]]
    rows = [{"id": str(i), "messages": one} for i, one in enumerate(messages)]
    alone, together = measure(tiny, rows, 64, 1, "tiny"), measure(tiny, rows, 64, 3, "tiny")
    assert [one.question for one in together] == ["0", "1", "2"]
    assert [one.tokens for one in together] == [3, 9, 6]
    assert [one.nll for one in together] == pytest.approx([one.nll for one in alone], abs=1e-5)


def test_a_bundle_that_cannot_be_loaded_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=str(tmp_path)):
        measure(tmp_path, [], 64, 2, "none")


def test_references_are_of_the_questions_that_were_asked() -> None:
    asked = {"set": "questions", "id": "q1", "turns": ["How much?", "Sure?"], "reference": ["39 EUR"]}
    others = [asked | {"id": "q2"}, asked | {"id": "q3", "reference": []}, asked | {"id": "q4", "reference": [""]}]
    answers = [reply("questions", name, "x", side) for name in ("q1", "q3", "q4") for side in ("candidate", "champion")]
    (one,) = references([asked, *others], answers)
    assert (one["set"], one["id"]) == ("questions", "q1")
    assert [message["content"] for message in one["messages"]] == ["How much?", "39 EUR"]


@pytest.mark.slow
def test_a_model_that_learnt_the_references_is_told_from_one_that_did_not(tmp_path: Path) -> None:
    import torch

    folder = tiny_model(tmp_path / "champion")
    held = [{"id": f"h{i}", "messages": chat(f"What of {i}?", f"It is {i * 7} of those.")} for i in range(6)]
    known = [
        {"id": f"q{i}", "set": "questions", "messages": chat(f"Where is {i}?", f"Below the {i}th lamp.")}
        for i in range(6)
    ]
    learnt = training.load_model(folder, "float32").train()
    tokenizer = training.load_tokenizer(folder)
    optimiser = torch.optim.AdamW(learnt.parameters(), lr=3e-3)
    for _ in range(60):
        for one in known:
            encoded = templates.encode(tokenizer, templates.training_template(tokenizer), one["messages"], 256)
            ids, labels = (torch.tensor([encoded[name]]) for name in ("input_ids", "labels"))
            learnt(input_ids=ids, labels=labels).loss.backward()
            optimiser.step()
            optimiser.zero_grad()
    shutil.copytree(folder, tmp_path / "candidate")
    learnt.save_pretrained(tmp_path / "candidate")
    bundles = {"candidate": tmp_path / "candidate", "champion": folder}
    rows = likelihoods(bundles, held, known, PARAMS)
    found = paired(
        {(r["set"], r["question"], r["side"]): r["value"] for r in rows if r["metric"] == "reference_memory"}
    )
    assert len(found.candidate) == 6
    assert min(found.candidate) - max(found.champion) > 0.5


def chat(asked: str, said: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]

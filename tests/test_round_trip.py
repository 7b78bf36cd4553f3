"""All the way round with a real engine: it answers, a user dislikes and edits, training sees that pair, it judges."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from eval.judge import Ask, Judge, load_prompt
from serving.app import create_app
from serving.history import SqliteHistory
from stages import dpo, grade, pairs, scrub, sft, split
from stages.answer import NAME, AnswerParams, SetParams, answer_all
from stages.observe import observed_feedback
from tests.fakes import served
from tests.serving.conftest import OPTIONS, RELEASE, parts_of
from thumbwheel.engine import running_engine
from thumbwheel.lake import Pin, read_pinned, write_json, write_pin, write_table
from thumbwheel.outbox import Outbox
from thumbwheel.records import CONVERSATION, PREFERENCE, QUESTION, conversation_id, to_table
from thumbwheel.settings import settings

REPOSITORY = Path(__file__).parents[1]

QUESTION_ASKED = "What is the capital of France? Answer in one short sentence."
CORRECTION = "Paris, on the river Seine, is the capital of France."
TOPICS = ("gardens", "trains", "bread", "stars", "rivers", "chess", "bees", "maps", "snow", "violins")


@pytest.fixture(scope="module")
def engine(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """vLLM serves the model under the release's name to users, and under its own to the stages."""
    log = tmp_path_factory.mktemp("engine") / "engine.log"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("THUMBWHEEL_ENGINE_ARGUMENTS", f"--served-model-name {RELEASE.model} {NAME}")
        settings.cache_clear()
        with running_engine(small_model, RELEASE.model, RELEASE.window, log) as url:
            yield url
    settings.cache_clear()


@pytest.fixture
def place(workspace: Path, small_model: Path) -> Path:
    """A workspace with the repository's parameters cut to a few steps, and with the base model."""
    params = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    params["collect"]["files"] = []
    params["pairs"]["best_of_n"]["samples"] = 0
    params["split"]["clusters"] = 2
    params["sft"]["sentinel"] = params["dpo"]["sentinel"] = None
    params["sft"]["optimiser"] |= {"accumulation": 1, "steps": 1, "save_steps": 1, "log_steps": 1}
    params["dpo"]["optimiser"] |= {
        "epochs": 4.0,
        "accumulation": 1,
        "steps": 1,
        "warmup": 0.0,
        "save_steps": 1,
        "log_steps": 1,
    }
    (workspace / "params.yaml").write_text(yaml.safe_dump(params))
    (workspace / "models").mkdir()
    (workspace / "models" / "base").symlink_to(small_model)
    return workspace


@contextmanager
def running_chat(place: Path, engine: str) -> Iterator[httpx.Client]:
    """The chat service over a real engine, its events going to the outbox that `collect` reads."""
    outbox = Outbox(settings().outbox_path)
    history = SqliteHistory(place / "history.db")
    parts = replace(parts_of(history, engine.removesuffix("/v1"), outbox, OPTIONS, place), on_stop=outbox.close)
    with served(create_app(lambda: parts)) as url, httpx.Client(base_url=url, timeout=120) as client:
        yield client


@pytest.mark.slow
def test_a_thumb_down_with_an_edit_is_trained_on_in_the_next_turn(place: Path, engine: str) -> None:
    with running_chat(place, engine) as chat:
        reply = _dislike_and_edit(chat)
    _feedback_becomes_pairs()
    (made,) = read_pinned("pairs", "preferences").to_pylist()

    _pairs_become_training_data()
    (trained_on,) = read_pinned("split", "preferences").to_pylist()
    facts = _train(place)

    assert (made["rejected"], made["chosen"], made["origin"]) == (reply, CORRECTION, "edit")
    assert made["prompt"] == [{"role": "user", "content": QUESTION_ASKED}]
    assert (trained_on["id"], trained_on["split"]) == (made["id"], "train")
    assert (trained_on["rejected"], trained_on["chosen"]) == (reply, CORRECTION)
    assert facts["pairs"] == 1
    assert facts["pairs_seen"] >= 2
    assert facts["steps"] == 1
    assert _learnt(place / "models" / "dpo")


def _dislike_and_edit(chat: httpx.Client) -> str:
    body = {"messages": [{"role": "user", "content": QUESTION_ASKED}], "temperature": 0, "max_tokens": 40}
    answer = chat.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    said = answer.json()
    thumb = {name: said[name] for name in ("conversation_id", "message_id")}
    thumb |= {"rating": "down", "reason": "wrong", "correction": CORRECTION, "consent": True}
    stored = chat.post("/v1/feedback", json=thumb)
    assert stored.status_code == 201, stored.text
    return str(said["choices"][0]["message"]["content"])


def _feedback_becomes_pairs() -> None:
    write_json(settings().inputs / "feedback.json", observed_feedback())
    pairs.main()


def _pairs_become_training_data() -> None:
    """Run the stages between `pairs` and training on a handful of conversations and no pair but the thumb's."""
    conversations = write_table("dedup_conversations", to_table(map(_conversation, TOPICS), CONVERSATION))
    nothing = write_table("dedup_preferences", to_table([], PREFERENCE))
    write_pin(Pin(stage="dedup", tables={"conversations": conversations, "preferences": nothing}))
    write_pin(Pin(stage="pose", tables={"questions": write_table("pose_questions", to_table([], QUESTION))}))
    for stage in (scrub, grade, split):
        stage.main()


def _conversation(topic: str) -> dict[str, Any]:
    messages = [
        {"role": "user", "content": f"Could you tell me something about {topic}, please?"},
        {
            "role": "assistant",
            "content": f"Gladly: {topic} are a fine thing to learn about, and there is a lot to know.",
        },
    ]
    row = {"messages": messages, "source": "test", "licence": "CC0-1.0", "lang": "en", "topic": topic, "meta": "{}"}
    return {**row, "id": conversation_id(messages), "consent": True, "created_at": "2026-11-01T10:00:00+00:00"}


def _train(place: Path) -> dict[str, Any]:
    sft.main()
    dpo.main()
    facts: dict[str, Any] = yaml.safe_load((place / "data" / "reports" / "dpo.json").read_text())
    return facts


def _learnt(adapter: Path) -> bool:
    """Say whether an adapter changes anything: its B matrices start at zero."""
    from safetensors.torch import load_file

    weights = load_file(adapter / "adapter_model.safetensors")
    return any(bool(tensor.any()) for name, tensor in weights.items() if "lora_B" in name)


ANSWER = AnswerParams(
    sets={"mt_bench": SetParams(max_questions=2, max_tokens=12)},
    seed=1,
    max_length=RELEASE.window,
    max_context_characters=400,
    concurrency=2,
    timeout_seconds=300,
)


def _question(number: int, *turns: str) -> dict[str, Any]:
    return {"set": "mt_bench", "id": f"q{number}", "turns": list(turns), "context": []}


@pytest.mark.slow
async def test_the_real_engine_answers_in_turns_and_gives_verdicts_as_probabilities(
    tmp_path: Path, engine: str
) -> None:
    letters, grades = load_prompt("pairwise"), load_prompt("single")
    fields = {"question": QUESTION_ASKED, "answer_a": "Paris.", "answer_b": "Bananas."}
    questions = [_question(1, QUESTION_ASKED, "And of Italy?"), _question(2, "word " * 2 * RELEASE.window)]
    good, long = await answer_all(engine, questions, "candidate", "hash", ANSWER)
    judge = Judge(
        engine,
        NAME,
        "local",
        tmp_path / "cache",
        api_key=None,
        concurrency=2,
        retries=1,
        pause_seconds=0.1,
        timeout_seconds=300,
        verdict_tokens=3,
        min_mass=0.1,
        leads=True,
    )
    letter, grade = await judge.rule([Ask(prompt, prompt.messages(fields)) for prompt in (letters, grades)])
    assert len(good["replies"]) == 2
    assert all(reply.strip() for reply in good["replies"])  # which words is up to the processor's arithmetic
    assert good["tokens"] <= 24
    assert "status 400" in long["error"]
    assert long["replies"] == []
    assert sum(letter.probabilities.values()) == pytest.approx(1)
    assert 1 <= grade.expected_score <= 10

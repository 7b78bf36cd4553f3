"""Score answers by a small language model: how likely they are, and how much their question helps to predict them.

The score of a conversation is of its last answer: its length-normalised log-likelihood, and its instruction-following
difficulty, loss(answer | prompt) / loss(answer) (Li et al. 2024, arXiv:2308.12032). At 1 or more, the question does not
help to predict the answer.

A row's score depends on nothing but the row, the model and `max_tokens`: texts are padded to multiples of `PAD` tokens,
and at a given length the CPU's arithmetic is the same whatever else is in the batch. So scores are kept, each batch as
soon as it is done; a later run scores new rows only, and one that was killed goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from stages import training
from stages.quality.score_store import Kept, ScoreStore
from thumbwheel.bundle import bundle_hash
from thumbwheel.params import Params

if TYPE_CHECKING:
    pass

log = logging.getLogger(__name__)

PAD = 64
SLAB = 1024
"""Rows that are held as tokens at a time, which bounds the memory."""
VERSION = 1
"""Of how a score is computed; a change makes kept scores void."""


class ScoreParams(Params):
    """`max_scored` rows are drawn and scored, within `max_tokens` each, in batches of at most `batch_tokens`.

    A row is rejected only where it is both in the worst share (`unlikely_share`, `difficult_share`) of the scored and
    beyond the absolute limit (`min_likelihood` in nats a token, `max_difficulty`).
    """

    max_scored: int = Field(ge=0)
    max_tokens: int = Field(ge=1)
    batch_tokens: int = Field(ge=1)
    unlikely_share: float = Field(ge=0, le=1)
    min_likelihood: float
    difficult_share: float = Field(ge=0, le=1)
    max_difficulty: float


@dataclass(frozen=True)
class Score:
    """`likelihood` in nats a token, `difficulty` a ratio of losses, `tokens` of the answer that was scored."""

    id: str
    likelihood: float
    difficulty: float
    tokens: int


def score(rows: Sequence[Mapping[str, Any]], base: Path, params: ScoreParams, store: Path) -> list[Score]:
    """Return the model's scores of each row's last answer; a row whose prompt fills the window has none.

    Raises:
        ModelError: a row is not known in `store`, and the model in `base` is missing or damaged.
    """
    if not rows:
        return []
    model = bundle_hash(base)
    keys = [score_key(row["messages"], model, params.max_tokens) for row in rows]
    with ScoreStore(store) as kept:
        known = kept.read(keys)
        fresh = {key: row for key, row in zip(keys, rows, strict=True) if key not in known}
        log.info("%d of %d scores are known", len(rows) - len(fresh), len(rows))
        for found in score_anew(fresh, base, params):
            kept.add(found)
            known |= found
    return [Score(row["id"], *known[key]) for key, row in zip(keys, rows, strict=True) if known[key].tokens]


def score_key(messages: Sequence[Mapping[str, str]], model: str, max_tokens: int) -> str:
    """Return what a score is kept under: all that it depends on."""
    said = [[message["role"], message["content"]] for message in messages]
    parts = [VERSION, PAD, training.device(), model, max_tokens, said]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def score_anew(rows: Mapping[str, Mapping[str, Any]], base: Path, params: ScoreParams) -> Iterator[dict[str, Kept]]:
    """Yield the scores of rows by key, a batch at a time; says once a minute how far it is."""
    if not rows:
        return
    training.quiet()
    tokenizer = training.load_tokenizer(base)
    model = training.load_model(base, "float32").to(training.device()).eval()
    done, said, keys = 0, time.monotonic(), list(rows)
    for start in range(0, len(keys), SLAB):
        slab = keys[start : start + SLAB]
        for found in score_slab({key: rows[key] for key in slab}, model, tokenizer, params):
            yield found
            done += len(found)
            if time.monotonic() - said >= training.LOG_SECONDS or done == len(keys):
                said = time.monotonic()
                log.info("scored %d of %d rows", done, len(keys))


def score_slab(
    rows: Mapping[str, Mapping[str, Any]], model: Any, tokenizer: Any, params: ScoreParams
) -> Iterator[dict[str, Kept]]:
    """Yield the scores of rows that fit into memory together, those without an answer in the window first."""
    keys = list(rows)
    prompts, answers, header = tokens_of(list(rows.values()), tokenizer, params.max_tokens)
    usable = [i for i, answer in enumerate(answers) if answer]
    yield {keys[i]: Kept(0.0, 0.0, 0) for i, answer in enumerate(answers) if not answer}
    for batch in batches([len(prompts[i]) + len(answers[i]) for i in usable], params.batch_tokens):
        chosen = [usable[j] for j in batch]
        said = [answers[i] for i in chosen]
        asked = losses(model, [prompts[i] for i in chosen], said, params.batch_tokens)
        alone = losses(model, [header] * len(chosen), said, params.batch_tokens)
        yield {
            keys[i]: Kept(round(-given, 4), round(given / bare, 4), len(answers[i]))
            for i, given, bare in zip(chosen, asked, alone, strict=True)
        }


def tokens_of(
    rows: Sequence[Mapping[str, Any]], tokenizer: Any, limit: int
) -> tuple[list[list[int]], list[list[int]], list[int]]:
    """Return prompts, answers (cut so that both fit `limit`) and the answer's header, all as token ids."""
    prompts: list[list[int]] = []
    answers: list[list[int]] = []
    header: list[int] = []
    for row in rows:
        asked = [dict(message) for message in row["messages"][:-1]]
        prompt = tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_dict=True)["input_ids"]
        whole = tokenizer.apply_chat_template([*asked, dict(row["messages"][-1])], return_dict=True)["input_ids"]
        bare = tokenizer.apply_chat_template(asked, return_dict=True)["input_ids"]
        header = prompt[len(bare) :] or [tokenizer.bos_token_id]
        prompts.append(prompt)
        answers.append(whole[len(prompt) : limit])
    return prompts, answers, header


def losses(model: Any, prompts: Sequence[list[int]], answers: Sequence[list[int]], batch_tokens: int) -> list[float]:
    """Return the mean negative log-likelihood, in nats a token, of each answer behind its prompt."""
    import torch

    found = [0.0] * len(prompts)
    with torch.inference_mode(), torch.autocast(model.device.type, torch.bfloat16):
        for batch in batches([len(p) + len(a) for p, a in zip(prompts, answers, strict=True)], batch_tokens):
            texts = [prompts[i] + answers[i] for i in batch]
            hidden = hidden_states(model, texts)
            for row, i in enumerate(batch):
                begin, end = len(prompts[i]), len(texts[row])
                logits = model.get_output_embeddings()(hidden[row, begin - 1 : end - 1]).float()
                target = torch.tensor(answers[i], device=logits.device)
                found[i] = float(torch.nn.functional.cross_entropy(logits, target))
    return found


def hidden_states(model: Any, texts: Sequence[list[int]]) -> Any:
    """Return the last hidden states of texts of like length, shape (texts, padded length, width)."""
    import torch

    width = padded(max(map(len, texts)))
    ids = torch.zeros((len(texts), width), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, text in enumerate(texts):
        ids[row, : len(text)] = torch.tensor(text)
        mask[row, : len(text)] = 1
    inputs = {"input_ids": ids.to(model.device), "attention_mask": mask.to(model.device)}
    return model.get_decoder()(**inputs, use_cache=False).last_hidden_state


def padded(length: int) -> int:
    """Return the length to which a text is padded."""
    return -(-length // PAD) * PAD


def batches(lengths: Sequence[int], limit: int) -> Iterator[list[int]]:
    """Yield indices, longest first, in batches of one padded length, within `limit` tokens or of a single text."""
    batch: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda j: (-lengths[j], j)):
        width = padded(lengths[batch[0]]) if batch else 0
        if batch and (padded(lengths[i]) != width or (len(batch) + 1) * width > limit):
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def draw(rows: Sequence[dict[str, Any]], size: int, seed: int) -> list[dict[str, Any]]:
    """Return at most `size` rows, drawn without replacement by a generator seeded with `seed`, in their order."""
    import numpy as np

    chosen = np.random.default_rng(seed).permutation(len(rows))[:size]
    return [rows[i] for i in sorted(chosen.tolist())]


def reject_scores(scores: Sequence[Score], params: ScoreParams) -> dict[str, str]:
    """Return the reason by id of each scored row that is among the worst and beyond the absolute limit."""
    if not scores:
        return {}
    low = worst((one.likelihood for one in scores), params.unlikely_share)
    high = -worst((-one.difficulty for one in scores), params.difficult_share)
    unlikely = {s.id: "unlikely" for s in scores if s.likelihood <= low and s.likelihood < params.min_likelihood}
    unhelped = {s.id: "unhelped" for s in scores if s.difficulty >= high and s.difficulty > params.max_difficulty}
    return unhelped | unlikely


def worst(values: Iterable[float], share: float) -> float:
    """Return the quantile below which the lowest `share` of the values lies."""
    import numpy as np

    return float(np.quantile(list(values), share))

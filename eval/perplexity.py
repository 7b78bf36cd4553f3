"""How surprising held-out replies are to a bundle: the mean negative log-likelihood of the assistant's tokens.

The bundle itself is loaded, quantized as it is served. Perplexity is the exponential of the mean.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thumbwheel.errors import ModelError

log = logging.getLogger(__name__)

IGNORED = -100
PROGRESS_SECONDS = 15.0


@dataclass(frozen=True)
class Likelihood:
    """One conversation: nats per assistant token and how many such tokens, or why it could not be measured."""

    question: str
    nll: float | None
    tokens: int
    error: str | None = None


def measure(
    folder: Path, conversations: Sequence[Mapping[str, Any]], max_length: int, batch: int, name: str
) -> list[Likelihood]:  # fmt: skip
    """Return the likelihood of each conversation (`id`, `messages`), in order, under the bundle in `folder`.

    Conversations are cut at `max_length` tokens; one that has no assistant token left is an error, not a score.
    `batch` conversations of like length go through the model at once.

    Raises:
        ModelError: the bundle cannot be loaded.
    """
    model, tokenizer = load(folder)
    encoded = [[part[:max_length] for part in encode(tokenizer, one["messages"])] for one in conversations]
    order = sorted(range(len(encoded)), key=lambda i: len(encoded[i][0]))
    found: dict[int, tuple[float, int]] = {}
    last = time.monotonic()
    for start in range(0, len(order), batch):
        picked = order[start : start + batch]
        found |= dict(zip(picked, score(model, [(encoded[i][0], encoded[i][1]) for i in picked]), strict=True))
        if time.monotonic() - last >= PROGRESS_SECONDS:
            last = time.monotonic()
            log.info("%s: %d of %d conversations measured", name, len(found), len(conversations))
    return [likelihood(str(one["id"]), *found[i]) for i, one in enumerate(conversations)]


def load(folder: Path) -> tuple[Any, Any]:
    """Return the model, ready to read, and its tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model: Any = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
    except (OSError, ValueError, ImportError) as error:
        raise ModelError(f"{folder} cannot be loaded ({str(error)[:200]}); make it with: dvc repro.") from None
    return model.to(device).eval(), tokenizer


def encode(tokenizer: Any, messages: Sequence[Mapping[str, str]]) -> tuple[list[int], list[int]]:
    """Return the token ids of a conversation and its labels: the assistant's tokens, all else ignored.

    A reply's tokens are what the template adds when the reply is added to the prompt that asks for it.
    """
    tokens: list[int] = []
    labels: list[int] = []
    for index, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        prompt = _ids(tokenizer, messages[:index], True)
        whole = _ids(tokenizer, messages[: index + 1], False)
        labels += [IGNORED] * (len(prompt) - len(labels)) + whole[len(prompt) :]
        tokens = whole
    return tokens, labels


def score(model: Any, batch: Sequence[tuple[list[int], list[int]]]) -> list[tuple[float, int]]:
    """Return, for each (tokens, labels), the summed negative log-likelihood of the labelled tokens and their number."""
    import torch

    length = max(2, *(len(tokens) for tokens, _ in batch))
    tokens = torch.tensor([one + [0] * (length - len(one)) for one, _ in batch], device=model.device)
    labels = torch.tensor([one + [IGNORED] * (length - len(one)) for _, one in batch], device=model.device)
    seen = torch.tensor([[1] * len(one) + [0] * (length - len(one)) for one, _ in batch], device=model.device)
    wanted = labels[:, 1:] != IGNORED
    with torch.inference_mode():
        logits = model(tokens, attention_mask=seen, use_cache=False).logits[:, :-1][wanted]
        losses = torch.nn.functional.cross_entropy(logits.float(), labels[:, 1:][wanted], reduction="none")
    counts = wanted.sum(dim=1).tolist()
    return [(float(part.sum()), count) for part, count in zip(losses.split(counts), counts, strict=True)]


def likelihood(question: str, total: float, count: int) -> Likelihood:
    """Return the mean, or why there is none."""
    if not count:
        return Likelihood(question, None, 0, "no assistant token within the length limit")
    if not math.isfinite(total):
        return Likelihood(question, None, count, "the likelihood is not a finite number")
    return Likelihood(question, total / count, count)


def _ids(tokenizer: Any, messages: Sequence[Mapping[str, str]], asks: bool) -> list[int]:
    plain = [{"role": m["role"], "content": m["content"]} for m in messages]
    text = tokenizer.apply_chat_template(plain, tokenize=False, add_generation_prompt=asks)
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])

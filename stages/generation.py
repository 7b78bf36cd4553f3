"""What a model in memory says: greedy replies, and log-probabilities of tokens. Used by the sentinel and by parity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def greedy(model: Any, prompts: Sequence[list[int]], length: int) -> list[list[int]]:
    """Return the tokens of the model's greedy reply to each prompt, its end-of-turn token included."""
    import torch

    ends = model.generation_config.eos_token_id
    ends = set(ends if isinstance(ends, list) else [ends])
    longest = max(map(len, prompts))
    filled = [[0] * (longest - len(one)) + one for one in prompts]
    seen = [[0] * (longest - len(one)) + [1] * len(one) for one in prompts]
    whole = model.generate(
        input_ids=torch.tensor(filled, device=model.device),
        attention_mask=torch.tensor(seen, device=model.device),
        max_new_tokens=length,
        do_sample=False,
        use_cache=True,
    )
    return [upto(reply, ends) for reply in whole[:, longest:].tolist()]


def upto(reply: list[int], ends: set[int]) -> list[int]:
    """Return a reply up to its first end, what fills it up cut off."""
    end = next((i + 1 for i, token in enumerate(reply) if token in ends), len(reply))
    return reply[:end]


def log_probabilities(model: Any, tokens: Sequence[int], places: Sequence[int]) -> Any:
    """Return the log-probabilities, in nats, of all tokens at each place, given those before it: (n, vocabulary)."""
    import torch

    with torch.no_grad():
        ids = torch.tensor([tokens], device=model.device)
        before = torch.tensor(places, device=model.device) - 1
        return model(input_ids=ids, use_cache=False).logits[0, before].float().log_softmax(dim=-1)

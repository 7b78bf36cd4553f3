"""The window: the newest turns that fit the model, whole; the system text and the newest turn never leave."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain

from serving.history import Messages

Turns = Sequence[Messages]


@dataclass(frozen=True)
class Fitted:
    """What of a conversation goes to the engine.

    `dropped` counts the messages that left, `tokens` is the length of what stayed, `whole_tokens` of all, system
    text included in both.
    """

    messages: Messages
    dropped: int
    tokens: int
    whole_tokens: int


class TooLongError(ValueError):
    """The newest turn alone, with the system text, is longer than the budget."""


def turns_of(messages: Messages) -> list[Messages]:
    """Return messages in turns: one of the user's and what answers it; what stands before the first is one, too."""
    turns: list[Messages] = []
    for message in messages:
        if message["role"] == "user" or not turns:
            turns.append([])
        turns[-1].append(message)
    return turns


def flat(turns: Turns) -> Messages:
    return list(chain.from_iterable(turns))


def fit(messages: Messages, count: Callable[[Messages], int], budget: int) -> Fitted:
    """Return the newest turns whose `count` is within `budget`, in tokens; as many as fit.

    A prompt is counted whole, never added up from its parts, for tokens may join at their seams. `count` is asked
    about log2(turns) times: fewer turns are taken to have fewer tokens.

    Raises:
        TooLongError: not even the newest turn fits.
    """
    whole = count(messages)
    if whole <= budget:
        return Fitted(messages, 0, whole, whole)
    turns = turns_of(messages)
    counted: dict[int, int] = {}

    def fits(start: int) -> bool:
        counted[start] = count(flat(turns[start:]))
        return counted[start] <= budget

    last = len(turns) - 1
    if not fits(last):
        raise TooLongError(f"the newest turn takes {counted[last]} tokens of {budget}")
    start = 1 + bisect_left(range(1, last), True, key=fits)
    kept = flat(turns[start:])
    return Fitted(kept, len(messages) - len(kept), counted[start], whole)

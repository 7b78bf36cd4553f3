"""Some sequences looked for in a stream, character by character (Aho and Corasick, Communications of the ACM 1975)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from thumbwheel.moderation.normalise import fold_character

ROOT = 0


class Sequences:
    """An automaton over folded characters; a state is the longest end of the text that begins a sequence."""

    def __init__(self, sequences: Iterable[str]) -> None:
        """Build it; the sequences are folded already and none is empty."""
        self._next: list[dict[str, int]] = [{}]
        self._fail = [ROOT]
        self.depth = [0]
        """Characters of each state: how much of the text's end could still begin a sequence."""
        self.found: list[str | None] = [None]
        """The sequence that ends at a state."""
        for sequence in sequences:
            self._add(sequence)
        self._link()

    def step(self, state: int, character: str) -> int:
        """Return the state after one more character."""
        while (after := self._next[state].get(character)) is None and state != ROOT:
            state = self._fail[state]
        return ROOT if after is None else after

    def _add(self, sequence: str) -> None:
        state = ROOT
        for character in sequence:
            if character not in self._next[state]:
                self._next[state][character] = len(self._next)
                self._next.append({})
                self._fail.append(ROOT)
                self.depth.append(self.depth[state] + 1)
                self.found.append(None)
            state = self._next[state][character]
        self.found[state] = sequence

    def _link(self) -> None:
        queue = deque(self._next[ROOT].values())
        while queue:
            state = queue.popleft()
            for character, child in self._next[state].items():
                queue.append(child)
                self._fail[child] = self.step(self._fail[state], character) if state != ROOT else ROOT
                self.found[child] = self.found[child] or self.found[self._fail[child]]


class Trace:
    """The automaton on its way through one text."""

    def __init__(self, sequences: Sequences) -> None:
        self._sequences = sequences
        self._state = ROOT
        self._after_blank = False
        self._places: deque[int] = deque()
        """Where in the text each of the last folded characters came from, as many as the state is deep."""

    def step(self, character: str, place: int) -> bool:
        """Take a character of the text as written; tell whether a sequence ends with it. Runs of blanks are one."""
        for folded in fold_character(character):
            if folded == " " and self._after_blank:
                continue
            self._after_blank = folded == " "
            self._state = self._sequences.step(self._state, folded)
            self._places.append(place)
            if self._sequences.found[self._state]:
                return True
        while len(self._places) > self._sequences.depth[self._state]:
            self._places.popleft()
        return False

    @property
    def start(self) -> int | None:
        """Where the end of the text begins that could still become a sequence."""
        return self._places[0] if self._places else None

    def shift(self, by: int) -> None:
        """Move all places: the text was cut or grew before them."""
        self._places = deque(place + by for place in self._places)

"""The pass over embeddings: a paraphrase is caught, and only where it is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from stages.dedup import deduplicate
from stages.duplicates.dedup_semantic import Meanings
from stages.duplicates.documents import conversation_documents
from stages.erase import raw_caches
from tests.stages.test_dedup import PARAMS, chat, dedup, history
from thumbwheel.records import CONVERSATION, to_table
from thumbwheel.settings import settings

SAME = [
    chat("How do I reset the password of my account?", "Open the settings, choose Security and press Reset password."),
    chat("How can I reset my account's password?", "Go to settings, choose Security, then press Reset password."),
]
OTHER = chat("How old can a ficus become?", "In a pot it lives for twenty to fifty years.")


def by_first_letter(texts: Sequence[str]) -> Mapping[str, np.ndarray]:
    return {text: np.eye(26)[ord(text[0]) - ord("a")] for text in texts}


def test_rows_are_as_near_as_their_farthest_parts() -> None:
    rows = [[("q", "apple"), ("a", "bear")], [("q", "ant"), ("a", "bee")], [("q", "arm"), ("a", "cat")]]
    said = Meanings(rows, by_first_letter)
    assert said.pairs(0.9).tolist() == [[0, 1]]
    assert said.cosines([0, 0], [1, 2]).tolist() == [1.0, 0.0]


def test_rows_of_other_parts_are_not_compared() -> None:
    assert len(Meanings([[("q", "apple")], [("q", "apple"), ("a", "bear")]], by_first_letter).pairs(0.5)) == 0


def test_a_long_text_is_read_to_its_end() -> None:
    rows = [[("q", " ".join(["a"] * 80 + [last] * 80))] for last in ("b", "c")]
    assert Meanings(rows, by_first_letter).cosines([0], [1])[0] == pytest.approx(0.5)


def test_pairs_are_found_across_blocks() -> None:
    rows = [[("q", "abcdefghijklmnopqrstuvwxyz"[i % 26])] for i in range(1100)]
    found = Meanings(rows, by_first_letter).pairs(0.9)
    assert {(int(a) % 26, int(b) % 26) for a, b in found} == {(i, i) for i in range(26)}
    assert len(found) == sum(n * (n - 1) // 2 for n in np.bincount(np.arange(1100) % 26))


@pytest.mark.slow
def test_a_planted_paraphrase_is_dropped_for_its_meaning(workspace: Path) -> None:
    params = PARAMS.model_copy(update={"semantic": 0.8})
    assert len(dedup(*SAME, OTHER)[0]) == 3
    copy = chat(
        "How do I reset the password of my account", "Open the settings, choose Security and press Reset password!"
    )
    table = to_table([*SAME, OTHER, copy], CONVERSATION)
    kept, dropped = deduplicate(table, conversation_documents, params, history())
    assert OTHER["id"] in kept["id"].to_pylist()
    assert sorted(dropped["reason"].to_pylist()) in (["exact", "semantic"], ["semantic", "semantic"])
    assert set(dropped["keeper"].to_pylist()) <= set(kept["id"].to_pylist())
    semantic = [row["similarity"] for row in dropped.to_pylist() if row["reason"] == "semantic"]
    assert all(0.8 <= cosine < 1 for cosine in semantic)
    assert raw_caches() == [settings().state_dir / "dedup"]
    assert not (settings().state_dir / "vectors.db").exists()

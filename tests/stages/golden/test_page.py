"""The page of the watch: what was answered stands on it as text, whatever it holds."""

from __future__ import annotations

from pathlib import Path

from eval.drift import Criterion, Reply, claims, judge
from stages.golden.asking import Question
from stages.golden.ledger import Ledger, Look
from stages.golden.page import SHOWN, files, markdown, sentence

RELEASE = {"version": 3, "model": "thumbwheel-chat/3", "bundle": "b" * 64, "index": None}
CRITERIA = [Criterion(measure="changed", margin=0.3)]
NASTY = "<script>alert(1)</script> | **bold** [link](http://evil.example) `code`\n# Heading"


def ledger(count: int) -> Ledger:
    questions = [Question("golden", f"g{n}", ("What now?",), 8) for n in range(count)]
    look = Look(at="2026-01-08T00:00:00Z", outcome="drift", e_values={})
    answers: list[Reply | None] = [Reply("Plain words", "stop", (), 1.0) for _ in range(count)]
    return Ledger(release=RELEASE, kept_at="2026-01-01T00:00:00Z", questions=questions, answers=answers, looks=[look])


def test_what_was_answered_can_be_neither_markup_nor_script() -> None:
    book = ledger(40)
    today = [Reply(NASTY, "stop", (), 1.0) for _ in range(40)]
    lines = judge(claims([(a, b) for a, b in zip(book.answers, today, strict=True) if a], CRITERIA), [], 0.05)
    text = markdown(book, today, lines)
    page = files(Path("reports"), text)[Path("reports/watch.html")]
    assert text.count("**golden g") == SHOWN
    assert "<script>" not in page
    assert "<h1>Heading" not in page
    assert 'evil.example"' not in page
    assert page.count("<tr>") == 1 + len(lines)
    assert "other words" in sentence(RELEASE, lines, 1)

"""Mending mojibake and telling languages: what ftfy would do, at a fraction of its cost; and nothing is downloaded."""

from __future__ import annotations

import json
import re
import socket
from typing import Any, NoReturn

import ftfy
import pytest
from ftfy.badness import MOJIBAKE_CATEGORIES, is_bad
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.reading.mend import LanguageParams, language_of, mend, suspicious
from tests.conftest import public_or_skip

BEYOND = "".join(map(chr, range(0x80, 0xFFFF)))
KINDS = [re.findall(f"[{chars}]", BEYOND) for chars in MOJIBAKE_CATEGORIES.values()]
ODD = st.sampled_from(KINDS).flatmap(st.sampled_from) | st.sampled_from(list(" \nabzAZ.,°\xa0»®¼½¾†™²ЂђâìΆāА"))
TEXT = st.text() | st.text(ODD, max_size=6) | st.text().map(lambda t: t.encode("utf-8", "replace").decode("latin-1"))
PLAIN = st.sampled_from(["", " ", "a ", " quele", "x?", "\x1a", "Z" * 80, " plain " * 12, f"{'x' * 40}\x1a{'y' * 40}"])
LANGUAGE = LanguageParams(characters=120, min_characters=24, min_confidence=0.5)


@settings(max_examples=1000)
@given(TEXT)
def test_whatever_ftfy_calls_bad_is_suspicious(text: str) -> None:
    assert suspicious(text) or not is_bad(text)


@settings(max_examples=300)
@given(TEXT)
def test_mending_is_what_ftfy_does_line_by_line(text: str) -> None:
    assert mend(text) == "\n".join(ftfy.fix_encoding(line) for line in text.split("\n"))


@settings(max_examples=300)
@given(PLAIN, TEXT, PLAIN, TEXT, PLAIN)
def test_what_stands_around_mojibake_changes_nothing(head: str, one: str, middle: str, other: str, tail: str) -> None:
    line = f"{head}{one}{middle}{other}{tail}".replace("\n", "")

    assert mend(line) == ftfy.fix_encoding(line)


def test_lines_too_long_to_be_remembered_are_mended_all_the_same() -> None:
    assert mend(f"{'long ' * 1000}naÃ¯ve{' long' * 1000}") == f"{'long ' * 1000}naïve{' long' * 1000}"


def test_real_prompts_get_the_verdict_of_ftfy() -> None:
    path = public_or_skip("chat/gpteacher")
    texts = [json.dumps(row, ensure_ascii=False) for file in sorted(path.glob("*.json")) for row in _head(file)]
    foreign = [text for text in texts if not text.isascii()]
    assert foreign
    assert [text for text in foreign if is_bad(text) and not suspicious(text)] == []


def _head(file: Any) -> list[Any]:
    rows = json.loads(file.read_text())
    return list(rows[:1500]) if isinstance(rows, list) else []


@pytest.mark.parametrize("text", ["Zürich – schön, “très” bien…", "naïve café", "今日は", "Привет, как дела?", "🙂 ok"])
def test_good_text_stays_byte_for_byte(text: str) -> None:
    assert mend(text) == text


@pytest.mark.parametrize("good", ["Zürich – schön", "it’s “fine”", "naïve café", "Привет, как дела?"])
@pytest.mark.parametrize("wrong", ["latin-1", "windows-1252"])
def test_text_decoded_in_the_wrong_encoding_is_mended(good: str, wrong: str) -> None:
    try:
        bad = good.encode().decode(wrong)
    except UnicodeDecodeError:
        pytest.skip("these bytes are not defined in that encoding")
    assert mend(f"plain\n{bad}\n🙂") == f"plain\n{good}\n🙂"


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The hub blinks white when it looks for your network.", "en"),
        ("Die Zentrale blinkt weiß, wenn sie das Netz sucht.", "de"),
        ("Le boîtier clignote en blanc quand il cherche le réseau.", "fr"),
        ("Индикатор мигает белым, когда ищет вашу сеть.", "ru"),
    ],
)
def test_a_language_is_told_without_a_network(text: str, language: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*args: Any) -> NoReturn:
        raise AssertionError("it asked the network")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    assert language_of([text], LANGUAGE) == language


@pytest.mark.parametrize("text", ["", " \n ", "ok", "qx zv " * 8])
def test_too_little_to_tell_is_told_as_such(text: str) -> None:
    assert language_of([text, "\n"], LANGUAGE) is None


@given(st.lists(st.text(), min_size=1, max_size=4))
def test_any_text_has_a_language_or_none(texts: list[str]) -> None:
    found = language_of(texts, LANGUAGE)
    assert found is None or found.isascii()

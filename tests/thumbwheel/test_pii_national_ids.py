"""National identity numbers: published examples are found, mistyped ones are not, and weak forms need a word."""

from __future__ import annotations

import re

import pytest

from thumbwheel.pii import find
from thumbwheel.pii.national_checks import verhoeff
from thumbwheel.pii.national_ids import IDS

ALONE = [
    ("UK NINO", "AB 12 34 56 C"),
    ("ES DNI", "12345678Z"),
    ("ES DNI", "X-1234567-L"),
    ("FR NIR", "2 55 08 14 168 025 38"),
    ("FR NIR", "255081416802538"),
    ("IT codice fiscale", "RSSMRA85T10A562S"),
    ("IN Aadhaar", "9999 4105 7058"),
    ("SE personnummer", "811218-9876"),
    ("SE personnummer", "19811218-9876"),
    ("FI HETU", "131052-308T"),
    ("FI HETU", "131052A308T"),
    ("BE rijksregister", "85.07.30-033.28"),
    ("BR CPF", "529.982.247-25"),
    ("CN resident identity", "11010519491231002X"),
    ("KR RRN", "880101-1234568"),
]
NAMED = [
    ("UK NINO", "my National Insurance number is", "AB123456C"),
    ("DE Steuer-ID", "Meine Steuer-ID:", "86095742719"),
    ("DE Steuer-ID", "Steueridentifikationsnummer", "86 095 742 719"),
    ("NL BSN", "BSN", "111222333"),
    ("IN Aadhaar", "aadhaar no.", "999941057058"),
    ("IN PAN", "PAN", "ABCPK1234L"),
    ("PL PESEL", "PESEL:", "44051401359"),
    ("DK CPR", "CPR-nummer", "070761-4286"),
    ("NO fødselsnummer", "fødselsnummer er", "29029600013"),
    ("BR CPF", "cpf", "52998224725"),
    ("PT NIF", "NIF", "501964843"),
    ("CA SIN", "SIN", "130 692 544"),
    ("AU TFN", "tax file number", "123 456 782"),
    ("ZA identity", "ID number", "8001015009087"),
]


def kinds(text: str) -> list[tuple[str, str]]:
    return [(found.kind, found.value) for found in find(text, ["national_id"])]


@pytest.mark.parametrize(("name", "value"), ALONE)
def test_a_number_of_strong_form_stands_for_itself(name: str, value: str) -> None:
    assert kinds(f"It says {value}, I think.") == [("national_id", value)]


@pytest.mark.parametrize(("name", "words", "value"), NAMED)
def test_a_number_of_weak_form_needs_its_name(name: str, words: str, value: str) -> None:
    assert kinds(f"{words} {value}.") == [("national_id", value)]
    assert kinds(f"Here it is: {value}.") == []


def test_every_number_has_an_example() -> None:
    assert {each.name for each in IDS} == {name for name, *_ in (*ALONE, *NAMED)}


NO_CHECK = {"UK NINO", "IN PAN", "DK CPR"}
"""Numbers whose last digits are not checked, or no longer."""
CHECKED = [case for case in (*((name, "It says", value) for name, value in ALONE), *NAMED) if case[0] not in NO_CHECK]


@pytest.mark.parametrize(("name", "words", "value"), CHECKED)
def test_one_wrong_digit_at_the_end_is_seen(name: str, words: str, value: str) -> None:
    last = max(m.start() for m in re.finditer(r"[0-9]", value))
    wrong = [value[:last] + digit + value[last + 1 :] for digit in "0123456789" if digit != value[last]]
    assert [w for w in wrong if kinds(f"{words} {w}.") == [("national_id", w)]] == []


def test_verhoeff_sees_every_swap_of_neighbours() -> None:
    good = "999941057058"
    swapped = [good[:i] + good[i + 1] + good[i] + good[i + 2 :] for i in range(11) if good[i] != good[i + 1]]
    assert verhoeff(good)
    assert not any(verhoeff(number) for number in swapped)

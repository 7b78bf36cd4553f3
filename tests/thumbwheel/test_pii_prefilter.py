"""The prefilter hides nothing, and no input makes the search crash, hang or lie about where things stand."""

from __future__ import annotations

import subprocess
import sys
import threading
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.thumbwheel.test_pii import CLEAN, FOUND
from tests.thumbwheel.test_pii_national_ids import ALONE, NAMED
from thumbwheel.pii import KINDS, REGIONS, find
from thumbwheel.pii.credentials import TOKENS
from thumbwheel.pii.detect import RULES, find_by
from thumbwheel.pii.folding import DECIMALS, PLAIN, fold
from thumbwheel.pii.prefilter import Hyperscan, every_rule, prefilter
from thumbwheel.settings import REPOSITORY

EVERYTHING = every_rule(RULES)


def without_prefilter(text: str) -> list[tuple[str, int, int]]:
    return [(f.kind, f.start, f.end) for f in find_by(EVERYTHING, text, frozenset(KINDS), REGIONS)]


def found(text: str) -> list[tuple[str, int, int]]:
    return [(f.kind, f.start, f.end) for f in find(text)]


EXAMPLES = [
    *(text for text, _, _ in FOUND),
    *CLEAN,
    *(value for _, value in ALONE),
    *(f"{words} {value}" for _, words, value in NAMED),
]
PIECES = (
    st.sampled_from(EXAMPLES)
    | st.sampled_from(TOKENS).flatmap(lambda token: st.from_regex(token, fullmatch=True))
    | st.sampled_from([*" \n.-+()@:/", "née le", "ø", "\u00a0", "\u202a", "–", "＠", "call", "born", "BSN", "ext. 5"])
    | st.text(max_size=5)
)
TEXTS = st.lists(PIECES, max_size=6).map("".join)


def exotic(text: str, shift: int) -> str:
    """Write a text's digits in another script, and its blanks and dashes in other ways."""
    zeros = [zero for zero, value in DECIMALS.items() if value == "0"]
    zero = zeros[shift % len(zeros)]
    digits = {ord("0") + i: chr(ord(zero) + i) for i in range(10)}
    return text.translate(digits | {ord(" "): "\u00a0", ord("-"): "\u2011"})


@pytest.fixture(scope="module", autouse=True)
def _hyperscan_is_there() -> None:
    pytest.importorskip("hyperscan", reason="Hyperscan is not installed, so there is no prefilter to test.")
    assert isinstance(prefilter(RULES), Hyperscan)


@pytest.mark.parametrize("text", EXAMPLES)
def test_the_prefilter_lets_every_example_through(text: str) -> None:
    assert found(text) == without_prefilter(text)


@settings(max_examples=400)
@given(TEXTS)
def test_the_prefilter_never_hides_a_finding(text: str) -> None:
    assert found(text) == without_prefilter(text)


@settings(max_examples=200)
@given(TEXTS, st.integers(0, 60))
def test_nor_does_it_where_digits_are_of_another_script(text: str, shift: int) -> None:
    text = exotic(text, shift)
    assert found(text) == without_prefilter(text)


@settings(max_examples=200)
@given(st.binary(max_size=80).map(lambda data: data.decode("utf-8", "surrogateescape")) | st.text(st.characters()))
def test_bytes_that_are_no_text_do_no_harm(text: str) -> None:
    assert found(text) == without_prefilter(text)


@pytest.mark.parametrize(("text", "kind", "value"), [case for case in FOUND if case[1] in ("phone", "card", "ssn")])
@pytest.mark.parametrize("shift", [0, 7, 21])
def test_numbers_are_found_in_any_script(text: str, kind: str, value: str, shift: int) -> None:
    start = text.index(value)
    assert found(exotic(text, shift)) == [(kind, start, start + len(value))]


@given(st.text(st.sampled_from([*PLAIN, *"0a +("])))
def test_folding_keeps_every_place_and_leaves_no_digit_of_another_script(text: str) -> None:
    folded = fold(text)
    assert len(folded) == len(text)
    assert set(folded).isdisjoint(DECIMALS)
    assert all(a == b or PLAIN[a] == b for a, b in zip(text, folded, strict=True))


@given(TEXTS)
def test_findings_are_in_order_and_do_not_overlap(text: str) -> None:
    assert all(a[2] <= b[1] for a, b in pairwise(found(text)))


HOSTILE = {
    "digits": "1" * 300_000,
    "spaced digits": "1 " * 150_000,
    "grouped digits": "123-" * 75_000,
    "brackets": "(1)" * 100_000,
    "mails": "a@" * 150_000,
    "mail labels": "x@" + "a." * 150_000,
    "mail names": "a" * 300_000 + "@",
    "colons": "a:" * 150_000,
    "dots": "1." * 150_000,
    "urls": "http://" * 40_000,
    "url parameters": "http://x/?" + "a_" * 150_000,
    "births": "my " * 100_000,
    "born words": "i born " * 40_000,
    "pem": "-----BEGIN RSA PRIVATE " * 10_000,
    "words": "api key: " * 30_000,
    "iban": "DE89 " * 60_000,
    "hex": "0x" + "a" * 300_000,
    "base58": "1" + "a" * 300_000,
    "ids": "RSSMRA85T10" * 25_000,
    "nothing": "\0" * 300_000,
    "right to left": "\u202e٠١٢٣ " * 50_000,
    "emoji": "👩‍👩‍👧‍👦1" * 30_000,
    "surrogates": "\ud800" * 300_000,
    "passwords": "password" * 40_000,
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_is_searched_to_its_end(name: str) -> None:
    text = HOSTILE[name]
    assert found(text + " mail t@mail.example now")[-1][0] == "email"


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_ten_megabytes_full_of_findings_are_all_found() -> None:
    line = "mail t@mail.example or call +1 202-555-0147, card 4111 1111 1111 1111.\n"
    count = 10_000_000 // len(line)
    assert len(find(line * count)) == 3 * count


def test_threads_do_not_disturb_one_another() -> None:
    texts = [text for text, _, _ in FOUND] * 20
    expected = [found(text) for text in texts]
    results: dict[int, list[list[tuple[str, int, int]]]] = {}

    def search(i: int) -> None:
        results[i] = [found(text) for text in texts]

    threads = [threading.Thread(target=search, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(results.values()) == [expected] * 4


def test_without_hyperscan_the_findings_are_the_same() -> None:
    code = (
        "import sys; sys.modules['hyperscan'] = None\n"
        "from thumbwheel.pii import find\n"
        "print([(f.kind, f.start) for f in find('mail t@mail.example, ssn 078-05-1120')])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[('email', 5), ('ssn', 25)]"


def test_importing_it_loads_nothing_heavy() -> None:
    code = (
        "import sys, thumbwheel.pii\n"
        "print([m for m in ('hyperscan', 'phonenumbers', 'spacy', 'numpy', 'pyarrow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

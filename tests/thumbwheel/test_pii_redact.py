"""How what is found is replaced: one value has one name, nothing real is left, and a second pass changes nothing."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.thumbwheel.test_pii import FOUND
from thumbwheel.pii import KINDS, NAME_KINDS, Mode, Pseudonyms, Redactor, find
from thumbwheel.pii.pseudonyms import CARDS, DRAW, IBANS, is_reserved, key_name
from thumbwheel.pii.redact import canonical

KEY = b"a key for these tests alone"
ALL_PSEUDONYMS: dict[str, Mode] = dict.fromkeys(KINDS, "pseudonym")


def pseudonymous(conversation: str = "a", key: bytes = KEY) -> Redactor:
    return Redactor(ALL_PSEUDONYMS, pseudonyms=Pseudonyms(key, conversation))


def test_one_value_keeps_one_placeholder_through_a_conversation() -> None:
    redactor = Redactor()
    assert redactor.redact("a@b.example or A@B.example, not c@d.example") == "[EMAIL_1] or [EMAIL_1], not [EMAIL_2]"
    assert redactor.redact("so c@d.example") == "so [EMAIL_2]"
    assert redactor.counts == {"email": 4}


def test_a_number_written_in_two_ways_is_one_value() -> None:
    assert Redactor().redact("+44 20 7946 0123, that is +442079460123") == "[PHONE_1], that is [PHONE_1]"


def test_a_placeholder_that_stands_there_already_is_not_given_out_again() -> None:
    assert Redactor().redact("[EMAIL_1] wrote to a@b.example") == "[EMAIL_1] wrote to [EMAIL_2]"


def test_allowed_values_stay() -> None:
    redactor = Redactor(allow=(re.compile(r".+@brindlewick\.example"),))
    assert redactor.redact("help@brindlewick.example, a@b.example") == "help@brindlewick.example, [EMAIL_1]"


def test_all_texts_of_a_conversation_are_seen_before_a_name_is_given() -> None:
    assert Redactor().redact_all(["I am a@b.example", "[EMAIL_1] is taken"]) == ["I am [EMAIL_2]", "[EMAIL_1] is taken"]


def test_a_kind_to_be_dropped_is_named_and_still_replaced() -> None:
    redactor = Redactor({"email": "placeholder", "ssn": "drop"})
    assert redactor.redact("a@b.example, 078-05-1120") == "[EMAIL_1], [SSN_1]"
    assert redactor.refused == "ssn"


def test_nothing_is_refused_where_no_kind_to_be_dropped_was_found() -> None:
    redactor = Redactor({"email": "placeholder", "ssn": "drop"})
    redactor.redact("a@b.example")
    assert redactor.refused is None


@pytest.mark.parametrize(("text", "kind", "value"), FOUND)
def test_a_pseudonym_takes_the_place_of_every_kind(text: str, kind: str, value: str) -> None:
    redacted = pseudonymous().redact(text)
    assert (value in redacted) == is_reserved(kind, value)
    assert "[" not in redacted.removeprefix(text[: text.index(value)])


def test_a_pseudonym_is_the_same_however_the_value_is_written() -> None:
    one, other = pseudonymous().redact("+44 20 7946 0123, that is +442079460123").split(", that is ")
    assert one == other


def test_different_values_have_different_pseudonyms_while_the_range_lasts() -> None:
    texts = [f"c{i}@mail.example" for i in range(200)]
    assert len(set(pseudonymous().redact_all(texts))) == 200


def test_placeholders_take_over_where_a_range_is_used_up() -> None:
    numbers = [f"4{i:014}" for i in range(40)]
    cards = [n + next(d for d in "0123456789" if find(n + d, ["card"])) for n in numbers]
    names = pseudonymous().redact_all(cards)
    assert len(set(names)) == 40
    assert set(names) & set(CARDS)
    assert any(name.startswith("[CARD_") for name in names)


def test_another_conversation_or_key_has_other_pseudonyms() -> None:
    text = "mail a@b.example"
    assert (
        len({pseudonymous().redact(text), pseudonymous("b").redact(text), pseudonymous(key=b"other").redact(text)}) == 3
    )


def test_pseudonyms_without_a_key_are_refused() -> None:
    with pytest.raises(ValueError, match="'email' is to have pseudonyms"):
        Redactor(ALL_PSEUDONYMS).redact("a@b.example")


@pytest.mark.parametrize("kind", [*KINDS, *NAME_KINDS])
@given(st.text(max_size=8))
def test_every_pseudonym_is_known_again_for_one(kind: str, value: str) -> None:
    drawn = Pseudonyms(KEY, "a").draw(kind, value)
    assert is_reserved(kind, drawn)
    assert Pseudonyms(KEY, "a").draw(kind, value) == drawn


def test_every_kind_has_a_range_of_pseudonyms() -> None:
    assert set(DRAW) == {*KINDS, *NAME_KINDS}


@pytest.mark.parametrize(("numbers", "kind"), [(CARDS, "card"), (IBANS, "iban")])
def test_published_examples_pass_their_checksums(numbers: tuple[str, ...], kind: str) -> None:
    assert [n for n in numbers if [f.value for f in find(f"it is {n}.", [kind])] != [n]] == []


def test_a_keys_name_says_nothing_of_the_key() -> None:
    assert key_name(KEY) == key_name(KEY) != key_name(KEY + b"!")
    assert not re.search(key_name(KEY), KEY.hex())


def test_a_value_in_other_digits_is_the_same_value() -> None:
    assert canonical("phone", "+٤٤ ٢٠") == canonical("phone", "+44-20")


PIECES = st.sampled_from(
    [value for _, _, value in FOUND]
    + [text for text, _, _ in FOUND]
    + ["call", "born", "SSN", "order", "[EMAIL_1]", "\n", " ", ". "]
)
TEXTS = st.lists(PIECES | st.text(max_size=6), max_size=8).map(" ".join) | st.text(
    alphabet="0123456789 +-.()/:@aAbn", max_size=60
)


@settings(deadline=None, max_examples=300)
@given(TEXTS)
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    once = Redactor().redact(text)
    assert Redactor().redact(once) == once
    assert find(once) == []


@settings(max_examples=300)
@given(TEXTS)
def test_pseudonyms_change_no_more_on_a_second_pass(text: str) -> None:
    once = pseudonymous().redact(text)
    assert pseudonymous().redact(once) == once


@settings(max_examples=200)
@given(TEXTS)
def test_no_value_that_was_found_is_left(text: str) -> None:
    values = {f.value for f in find(text) if not is_reserved(f.kind, f.value)}
    left = {f.value for f in find(pseudonymous().redact(text)) if not is_reserved(f.kind, f.value)}
    assert left & values == set()

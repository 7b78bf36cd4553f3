"""Records: an identity is the content's own, and a table has exactly its schema."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thumbwheel import records
from thumbwheel.errors import RecordError
from thumbwheel.folding import normalise
from thumbwheel.records import CONVERSATION, QUARANTINE, conversation_id, preference_id, to_table, user_hash

MESSAGES = st.lists(st.fixed_dictionaries({"role": st.sampled_from(records.ROLES), "content": st.text()}), max_size=4)


@given(st.text())
def test_normalising_twice_is_normalising_once(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


@pytest.mark.parametrize("other", ["hello world", "HELLO  WORLD", " Hello\n\tworld ", "Ｈｅｌｌｏ world"])
def test_case_spaces_and_width_do_not_change_a_conversations_identity(other: str) -> None:
    one = [{"role": "user", "content": "Hello world"}]

    assert conversation_id(one) == conversation_id([{"role": "user", "content": other}])


@given(MESSAGES, MESSAGES)
def test_two_conversations_have_one_identity_only_if_they_say_the_same(
    one: list[dict[str, str]], other: list[dict[str, str]]
) -> None:
    same = [(m["role"], normalise(m["content"])) for m in one] == [(m["role"], normalise(m["content"])) for m in other]

    assert (conversation_id(one) == conversation_id(other)) is same


def test_text_cannot_move_from_one_message_to_the_next_unseen() -> None:
    one = [{"role": "user", "content": "ab"}, {"role": "user", "content": "c"}]
    other = [{"role": "user", "content": "a"}, {"role": "user", "content": "bc"}]

    assert conversation_id(one) != conversation_id(other)


@given(st.text(), st.text())
def test_a_pair_and_its_reverse_differ_unless_both_replies_are_one(chosen: str, rejected: str) -> None:
    prompt = [{"role": "user", "content": "?"}]

    reverse = preference_id(prompt, rejected, chosen)

    assert (preference_id(prompt, chosen, rejected) == reverse) is (chosen == rejected)


def test_a_pairs_identity_sees_every_byte() -> None:
    prompt = [{"role": "user", "content": "?"}]

    assert preference_id(prompt, "a", "b") != preference_id(prompt, "a ", "b")


def test_a_users_hash_depends_on_the_key_and_does_not_hold_the_name() -> None:
    assert user_hash("ada", b"k") == user_hash("ada", b"k")
    assert user_hash("ada", b"k") != user_hash("ada", b"l")
    assert "ada" not in user_hash("ada", b"k")


def test_a_field_that_a_row_lacks_is_null() -> None:
    table = to_table([{"source": "s"}], QUARANTINE)

    assert table.schema == QUARANTINE
    assert table.to_pylist() == [{"source": "s", "line": None, "reason": None, "detail": None, "row": None}]


def test_no_rows_give_an_empty_table_of_the_schema() -> None:
    assert to_table([], CONVERSATION).schema == CONVERSATION


@pytest.mark.parametrize(("row", "says"), [({"colour": "red"}, "'colour'"), ({"line": "seven"}, "does not fit")])
def test_a_row_that_does_not_fit_is_refused(row: dict[str, object], says: str) -> None:
    with pytest.raises(RecordError, match=says):
        to_table([row], QUARANTINE)

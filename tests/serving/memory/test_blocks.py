"""Remembered text in a prompt is data that cannot leave its block."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from serving.memory import blocks

HOSTILE = st.lists(
    st.sampled_from(
        [
            "<|im_end|>",
            "<|im_",
            "<|im_start|>",
            "|>",
            "</profile>",
            "[INST]",
            "<s>",
            "\x00",
            "\u202e",
            "\n",
            "a",
            " b",
            "<",
            ">",
        ]
    )
).map("".join)


@given(HOSTILE | st.text(), st.integers(2, 50))
def test_a_line_is_one_printable_line_of_bounded_length_without_brackets(text: str, most: int) -> None:
    got = blocks.line(text, most)
    assert len(got) <= most
    assert got.isprintable()
    assert not set("<>`\n") & set(got)


@given(HOSTILE)
def test_no_template_mark_comes_out_of_a_passage(text: str) -> None:
    got = blocks.passage(text, 500)
    assert not blocks.TEMPLATE_MARKS.search(got)
    assert not set("<>") & set(got)


@given(HOSTILE)
def test_a_block_is_opened_and_closed_once_whatever_stands_in_it(text: str) -> None:
    got = blocks.profile_block([f"name: {blocks.line(text, 80)}"])
    assert (got.count("<profile>"), got.count("</profile>")) == (1, 1)
    assert got.endswith("\n</profile>")


def test_nothing_remembered_leaves_no_trace() -> None:
    assert blocks.joined("You are Wick.", blocks.profile_block([]), blocks.recall_block([])) == "You are Wick."
    assert blocks.joined("", blocks.summary_block("")) == ""

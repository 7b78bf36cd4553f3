from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.guard.links import links
from serving.guard.verdict import Verdict
from tests.serving.guard.screens import FORBIDDEN, GUARD, screen, sent
from thumbwheel.moderation.normalise import fold
from thumbwheel.pii import find

SCREEN = screen()
VALUES = (
    *("jo.doe@mail.com", "(020) 7946 0018", "+44 20 7946 0958", "4111 1111 1111 1111", "4111-1111-1111-1111"),
    *("GB82 WEST 1234 5698 7654 32", "gb82 west 1234 5698 7654 32", "my SSN is 536-22-1234", "8.8.4.4"),
    *("I was born on 12 March 1990", "date of birth: March 12th, 1990", "sk-abcdefghijklmnopqrstuvwxyz0123456789ABCD"),
    *("NI number AB 12 34 56 C", "https://user:secretpass@host.example/x"),
)
LINKS = (
    *("https://evil.example/a?b=c", "www.evil.com", "evil.com/path", "//evil.net/x", "javascript:alert(1)"),
    *("foo.me", "evil.In/x"),
)
WORDS = (
    "The",
    "light",
    "blinks",
    *("self.net(x)", "logging.info(", "`foo.me`", "procurement.In"),
    "5",
    "times",
    "of",
    "I",
    "USB",
    "in",
    "March",
    "a",
    "aab",
    "aa",
    "internal",
    "use",
    "水",
    "。",
    "é",
)
PIECES = st.sampled_from((*VALUES, *LINKS, *FORBIDDEN, *WORDS, *WORDS, *WORDS, "https://help.brindlewick.example/x"))
TEXTS = st.lists(PIECES, max_size=14).flatmap(
    lambda words: st.lists(
        st.sampled_from((" ", " ", "\n", "  ", ", ", ". ")), min_size=len(words), max_size=len(words)
    ).map(lambda gaps: "".join(word + gap for word, gap in zip(words, gaps, strict=True)))
)


def cut(text: str, places: list[int]) -> list[str]:
    at = sorted({0, len(text), *(place % (len(text) + 1) for place in places)})
    return [text[a:b] for a, b in itertools.pairwise(at)]


@settings(max_examples=150)
@given(TEXTS | st.text(), st.lists(st.integers(0, 10_000)))
def test_any_chunking_of_a_text_gives_the_same_output_and_verdicts(text: str, places: list[int]) -> None:
    whole = sent(SCREEN, [text])
    assert sent(SCREEN, cut(text, places))[:2] == whole[:2]
    assert sent(SCREEN, list(text))[:2] == whole[:2]


@settings(max_examples=150)
@given(TEXTS)
def test_nothing_forbidden_ever_leaves(text: str) -> None:
    out, _, _ = sent(SCREEN, list(text))
    kinds = GUARD.personal.kinds
    assert [f.value for f in find(out, kinds, GUARD.personal.regions) if not f.value.startswith("[")] == []
    assert list(links(out, ("brindlewick.example",))) == []
    assert not any(sequence in fold(out) for sequence in FORBIDDEN)


@settings(max_examples=60)
@given(TEXTS | st.text(alphabet="ab 01\n", max_size=900))
def test_what_is_held_back_is_bounded(text: str) -> None:
    assert sent(SCREEN, list(text))[2] <= 257


@given(st.lists(st.sampled_from(("The", "light", "blinks", "white", "while", "it", "looks", "é", "for", "devices."))))
def test_harmless_words_leave_unchanged_and_each_as_soon_as_it_ends(words: list[str]) -> None:
    text = "".join(f"{word} " for word in words)
    out, verdicts, held = sent(SCREEN, list(text))
    assert (out, verdicts) == (text, [])
    assert held <= 9


@pytest.mark.parametrize("value", VALUES)
def test_a_value_is_replaced_however_it_is_split(value: str) -> None:
    text = f"So it is {value} then, as she said."
    out, verdicts, _ = sent(SCREEN, list(text))
    assert not any(found.value in out for found in find(text))
    assert out.startswith("So it is ")
    assert out.endswith(" then, as she said.")
    assert [verdict.action for verdict in verdicts] == ["redact"]


@pytest.mark.parametrize(
    "written", ["internal use only", "INTERNAL\n use  only", "ínternal u\u200bse ｏnly", "internаl use only"]
)
def test_a_forbidden_sequence_ends_the_reply_however_it_is_written(written: str) -> None:
    out, verdicts, _ = sent(SCREEN, [f"This is for {written[:9]}", written[9:], " and more"])
    assert out == "This is for "
    assert verdicts == [Verdict("stream", "forbidden_sequence")]


def test_the_beginning_of_a_forbidden_sequence_that_goes_on_otherwise_leaves() -> None:
    assert sent(SCREEN, list("internal use of it"))[0] == "internal use of it"
    assert sent(SCREEN, list("aab aab aab"))[0] == "aab aab aab"
    assert sent(SCREEN, list("aab aab aac"))[0] == "aab "


def test_links_to_allowed_hosts_stay() -> None:
    text = "See https://help.brindlewick.example/x or https://brindlewick.example."
    assert sent(SCREEN, [text])[0] == text


@pytest.mark.parametrize(
    "link",
    [
        "https://brindlewick.example@evil.com/x",
        "https://brindlewick.example.evil.com",
        "https://evil.com/brindlewick.example",
        "https://evilbrindlewick.example",
        "http:\\\\evil.com",
        "HTTPS://EVIL.COM",
        "https:/evil.com",
        "https://ev\u200bil.com",
        "https://evil．com",
        "ｅｖｉｌ．ｃｏｍ/x",
        "evil.com.br/x",
        "EVIL.co.jp",
        "data:text/html,x",
        "ftp://brindlewick.example/x",
    ],
)
def test_a_link_elsewhere_is_removed_in_every_disguise(link: str) -> None:
    out, verdicts, _ = sent(SCREEN, list(f"Look at {link} now"))
    assert out == "Look at [link removed] now"
    assert [verdict.rule for verdict in verdicts] == ["link"]


@pytest.mark.parametrize(
    "text",
    [
        'logging.info("ready")',
        "self.logger.info(x) and this.net(x)",
        "self.top, window.top; document.link",
        "style.top=5 if `foo.me` else `self.app.me`",
        "was asked for its procurement.In 1964 it ended.",
    ],
)
def test_names_in_programs_and_the_seams_of_sentences_are_no_links(text: str) -> None:
    assert sent(SCREEN, list(text))[0] == text


@pytest.mark.parametrize(
    "link",
    [
        *("foo.me", "Evil.In", "x.evil.In", "evil.info/x(", "data.evil.info()", "self.data.evil.info(x)"),
        *("self.net/secret", "self.net:80", "self.net?secret", "evil.me?a=b", "`evil.com`", "`data.evil.me`"),
        *("evil.com(x)", "evil.top:8080", "evil-one.info()", "https://evil.info()", "www.evil.me("),
    ],
)
def test_what_only_looks_like_a_name_in_a_program_is_a_link(link: str) -> None:
    assert "[link removed]" in sent(SCREEN, list(f"Look at {link} now"))[0]


def test_invisible_characters_and_turned_writing_never_leave() -> None:
    hidden = "".join(chr(0xE0000 + ord(letter)) for letter in "secret")
    assert sent(SCREEN, [f"a{hidden}b\u202ec\u200b d"])[0] == "abc d"


def test_an_endless_word_is_left_out_and_the_reply_goes_on() -> None:
    out, verdicts, held = sent(SCREEN, ["Here: ", "x" * 5000, " end"])
    assert (out, held <= 257) == ("Here: […] end", True)
    assert verdicts == [Verdict("stream", "overlong", "redact")]


def test_a_long_run_of_numbers_flows_and_a_card_in_it_does_not() -> None:
    text = "1 " * 400 + "4111 1111 1111 1111 " + "1 " * 400
    out = sent(SCREEN, list(text))[0]
    assert "1111 1111" not in out
    assert out.count("1 ") >= 780


def test_where_personal_data_is_to_be_refused_it_ends_the_reply() -> None:
    out, verdicts, _ = sent(screen(output="refuse"), list("Write to jo.doe@mail.com now"))
    assert out == "Write to "
    assert verdicts == [Verdict("stream", "pii_email")]


def test_where_personal_data_is_allowed_it_leaves() -> None:
    assert sent(screen(output="allow"), list("It's jo.doe@mail.net now"))[0] == "It's jo.doe@mail.net now"


def test_the_companys_own_address_leaves() -> None:
    assert sent(SCREEN, ["Write to support@brindlewick.example please"])[0].split()[2] == "support@brindlewick.example"


def test_a_value_keeps_its_placeholder_through_a_reply() -> None:
    out = sent(SCREEN, ["Ask jo@mail.com or al@mail.com, but first Jo@mail.com please"])[0]
    assert out == "Ask [EMAIL_1] or [EMAIL_2], but first [EMAIL_1] please"

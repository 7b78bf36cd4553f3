"""The kernel says what the definitions say, every rule fires for its reason, and datatrove says the same."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.data_quality import FILTERS, GOLDEN, golden_texts, published, verdicts
from stages.grade import GradeParams
from stages.quality import heuristics, measure_kernel
from stages.quality.english import rules
from stages.quality.heuristics import REASONS, RULES, Fault, HeuristicParams, faults, judge_measures, measure_texts
from stages.quality.measures import MEASURES, NOTICES, measure
from thumbwheel.params import load_params
from thumbwheel.settings import REPOSITORY

LIMITS = load_params("grade", GradeParams, REPOSITORY / "params.yaml").heuristics
PROSE = "The hub stands in the house and the valve is out of doors, so that both have to be in reach of the router."

PIECES = [
    *rules()["special"],
    *rules()["units"],
    *rules()["currency"],
    *(
        "http://",
        "www.",
        "example.com",
        "a.b",
        "10.1.2.3",
        "8.8.8.8",
        ":80",
        "@",
        "/x?y",
        "US$5",
        "5km",
        "5%",
        "°C.",
        "²",
    ),
    *("...", "..", "--", "---", "----", "'s", "’S", " . ", "  ", "```", "e.g.", "1. ", " the ", " of ", " and "),
    *(
        "[12]",
        "[edit]",
        "[citation needed]",
        "javascript",
        "lorem ipsum",
        "Use cooKies",
        "\n- ",
        "\n1) ",
        "\n\n",
        "\r\n",
    ),
    *("K", "İ", "ς", "ß", "Ⅳ", "ﬁ", "👍🏽", "\u200d", "\u0301", "\u2028", "\x00", "\ud800", "שלום", "مرحبا", "日本語"),
    "the same words again and again. ",
]
texts = st.one_of(
    st.text(max_size=200),
    st.text(st.characters(), max_size=200),
    st.lists(st.one_of(st.sampled_from(PIECES), st.sampled_from(" \n.,:-'"), st.characters()), max_size=60).map(
        "".join
    ),
)
"""Any Unicode, lone surrogates too, and text laden with what the rules are about."""


def measured(text: str) -> dict[str, float]:
    return dict(zip(MEASURES, measure_texts([text])[0].tolist(), strict=True))


@settings(max_examples=600, suppress_health_check=[HealthCheck.too_slow])
@given(texts)
def test_the_kernel_measures_what_the_definitions_say(text: str) -> None:
    assert measured(text) == measure(text)


@settings(max_examples=300)
@given(st.text("abtsBK.,!_'…#-é \n", max_size=120))
def test_words_with_marks_are_measured_as_the_definitions_say(text: str) -> None:
    assert measured(text) == measure(text)


@given(
    st.lists(st.one_of(st.text("ab", min_size=19, max_size=21), st.sampled_from(["", " ", "ab. ", "\r"])), max_size=9)
)
def test_lines_that_differ_in_one_character_are_no_copies(lines: list[str]) -> None:
    text = "\n".join(lines)
    assert measured(text) == measure(text)


@given(st.sampled_from(["lorem ipsum", *NOTICES]), texts, texts, st.lists(st.booleans(), min_size=20, max_size=20))
def test_a_phrase_is_found_whatever_its_case_and_neighbours(
    phrase: str, before: str, after: str, capitals: list[bool]
) -> None:
    written = "".join(c.upper() if capital else c for c, capital in zip(phrase, capitals, strict=False))
    text = f"{before}{written}{after} is what stands here."
    assert measured(text) == measure(text)


@given(texts)
def test_every_share_is_a_share(text: str) -> None:
    ratios = {"hashes", "ellipses", "mean_word_length", "line_breaks", "open_words", "characters", "sentences"}
    counts = {"words", "plain_words", "latin_words", "stop_words"}
    grams = {"top_2_gram", "top_3_gram", "top_4_gram"}  # spaces that the text does not hold count too
    values = measured(text)
    assert all(value >= 0 for value in values.values())
    assert all(values[name] <= 1 for name in set(MEASURES) - ratios - counts - grams)


@given(st.lists(texts, max_size=12))
def test_a_texts_measures_do_not_depend_on_its_neighbours(many: list[str]) -> None:
    together = measure_texts(many)
    assert np.array_equal(together, np.array([measure_texts([one])[0] for one in many]).reshape(together.shape))


@pytest.mark.parametrize(
    ("name", "text", "characters"),
    [
        ("empty", "", 0),
        ("NUL", "a\x00b\x00", 4),
        ("lone surrogates", "\ud83d\udc4d \udfff", 4),
        ("right to left", "שלום עולם، مرحبا بالعالم؟", 25),
        ("emoji", "👩‍👩‍👧‍👦 👍🏽 ok", 13),
        ("only white space", " \n\t\u3000", 0),
    ],
)
def test_odd_texts_are_measured(name: str, text: str, characters: int) -> None:
    assert measured(text)["characters"] == characters
    assert measured(text) == measure(text)


@pytest.mark.parametrize("piece", ["x", ")", "a.b@", "....", "1,2-", "\n", "the cat sat on the mat. ", "é…"])
def test_a_row_of_ten_megabytes_is_measured(piece: str) -> None:
    text = piece * (10_000_000 // len(piece.encode()))
    values = measured(text)
    assert values["characters"] == len(text.strip())
    assert all(math.isfinite(value) or name == "open_words" for name, value in values.items())


EXAMPLES = {
    "too_short": "ok",
    "symbols": "##### //// ====== <<<>>> ||||| ~~~~~ ***** ]]]] {{{{ %%%%%.",
    "repetition": "Please check the the the the the the the the the the the the valve.",
    "shouting": "BUY NOW!!! BEST PLAN EVER!!! DO NOT WAIT!!! CLICK AND SAVE BIG MONEY TODAY!!!",
    "gibberish": "asdkjh qwoeiru zxmcnb lkjasd skdjfh gzmxnc bvqpwo alskdj fhgqpw zmxncb dhfgqp sdfghj.",
    "truncated": "Hold it with one hand, turn the collar to the left and make sure that the",
    "gopher_short_doc": PROSE,
    "gopher_long_doc": f"{PROSE} " * 10,
    "gopher_below_avg_threshold": f"{PROSE} " * 3 + "a b c d e f g " * 50,
    "gopher_above_avg_threshold": f"{PROSE} " * 3 + "Donaudampfschiffahrt " * 60,
    "gopher_too_many_hashes": f"{PROSE} " * 3 + "# " * 40,
    "gopher_too_many_ellipsis": f"{PROSE} " * 3 + "… " * 40,
    "gopher_too_many_bullets": "\n".join([f"- {PROSE}"] * 4),
    "gopher_too_many_end_ellipsis": "\n".join([f"{PROSE} …"] * 4),
    "gopher_below_alpha_threshold": f"{PROSE} " * 3 + "12 " * 60,
    "gopher_enough_stop_words": "Gelbe Ventile tropfen selten " * 15,
    "dup_para_frac": f"{PROSE}\n\n" * 3,
    "dup_para_char_frac": "a\n\nb\n\nc\n\nd\n\n" + f"{PROSE}\n\n" * 2,
    "dup_line_frac": f"{PROSE}\n" * 3,
    "dup_line_char_frac": "a\nb\nc\nd\n" + f"{PROSE}\n" * 2,
    "top_2_gram": "the cat " * 9,
    "top_3_gram": " ".join(f"the cat sat {i}x" for i in range(9)),
    "top_4_gram": " ".join(f"the cat sat on {i}x" for i in range(9)),
    **{f"duplicated_{n}_n_grams": " ".join([*(f"{c}w" for c in "abcdefghijkl"[:n])] * 2) for n in range(5, 11)},
    "lorem_ipsum": "Here you see Lorem Ipsum text.",
    "curly_bracket": "A line with one { in it.",
    "too_few_sentences": "One sentence. Another sentence.",
    "line_punct_ratio": "no mark here\nnor here",
    "short_line_ratio": "Short.\nShort too.",
    "char_dup_ratio": f"{PROSE}\n{PROSE}",
    "list_ratio": f"{PROSE}" + "\n" * 40,
}


def test_there_is_an_example_of_every_reason() -> None:
    assert set(EXAMPLES) == {rule.reason for rule in RULES}


def limits(reason: str) -> HeuristicParams:
    """Return limits by which only the rule of `reason` is on: its own, or the published ones where chat has none."""
    rule = next(rule for rule in RULES if rule.reason == reason)
    source = LIMITS if rule.family == "answer" else published(rule.family)
    limit = 100 if reason == "gopher_long_doc" else getattr(getattr(source, rule.family), rule.limit)
    enough = getattr(source, rule.family).enough_words
    off = published().model_dump()
    off[rule.family] |= {rule.limit: limit, "enough_words": enough}
    return HeuristicParams.model_validate(off)


@pytest.mark.parametrize(("reason", "text"), EXAMPLES.items())
def test_a_text_is_ruled_out_for_its_reason(reason: str, text: str) -> None:
    (fault,) = faults([text], limits(reason))
    assert fault is not None
    assert fault.reason == reason


@pytest.mark.parametrize("text", EXAMPLES.values())
def test_a_rule_that_is_off_rules_nothing_out(text: str) -> None:
    assert faults([text], published()) == [None]


UNSPACED = [
    "手順{}では、まず水と食べ物を十分に用意してから自分に合った道を選んでください。",
    "第{}步：首先准备好足够的水和食物，然后选择一条适合你的路线并且注意安全，不要着急。",
]


@pytest.mark.parametrize("line", UNSPACED)
def test_long_answers_in_scripts_without_blanks_are_not_taken_for_long_words(line: str) -> None:
    text = "\n\n".join(line.format(number) for number in range(60))
    (measured,) = measure_texts([text])
    assert measured[MEASURES.index("mean_word_length")] > (LIMITS.gopher.max_mean_word_length or 0)
    assert faults([text], LIMITS) == [None]


def test_the_first_broken_rule_is_the_reason_and_carries_what_was_measured() -> None:
    (fault,) = faults(["ok"], LIMITS)
    assert fault == Fault("too_short", 2.0, LIMITS.answer.min_characters)


@given(words=st.integers(0, 20), enough=st.integers(0, 20))
def test_limits_hold_only_for_enough_words(words: int, enough: int) -> None:
    off = published().model_dump()
    off["fineweb"] |= {"min_closed_lines": 0.5, "enough_words": enough}
    (fault,) = faults(["word " * words], HeuristicParams.model_validate(off))
    assert (fault is not None) == (words >= enough)


@given(st.lists(texts, max_size=20), st.integers(1, 100))
def test_slabs_hold_every_text_once_in_order(many: list[str], size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(heuristics, "SLAB", size)
        assert [text for slab in heuristics.slabs(many) for text in slab] == many


def test_slabs_on_several_threads_give_what_one_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    many = [*EXAMPLES.values()] * 3
    whole = faults(many, LIMITS)
    monkeypatch.setattr(heuristics, "SLAB", 300)
    assert faults(many, LIMITS) == whole


@given(st.lists(st.lists(st.floats(0, 2), min_size=len(MEASURES), max_size=len(MEASURES)), max_size=5))
def test_a_limit_itself_is_allowed(values: list[list[float]]) -> None:
    found = judge_measures(np.array(values).reshape(-1, len(MEASURES)), LIMITS)
    for fault in found:
        assert fault is None or fault.value != fault.limit


def test_the_kernel_is_compiled_anew_when_any_of_its_sources_changes() -> None:
    compiled = {
        name for name, module in vars(measure_kernel).items() if getattr(module, "__name__", "").startswith("stages")
    }
    modules = {name for name in sys.modules if name.startswith("stages.quality.") and name.endswith("_kernel")}
    assert {Path(str(sys.modules[name].__file__)) for name in modules} <= set(measure_kernel.sources())
    assert compiled == {"characters"}


def test_datatrove_says_the_same_of_the_seeds_texts() -> None:
    golden = json.loads(GOLDEN.read_text())
    said = verdicts([row["text"] for row in golden])
    assert [{name: said[name][i] for name in FILTERS} for i in range(len(golden))] == [
        {name: row[name] for name in FILTERS} for row in golden
    ]
    assert {row[name] for row in golden for name in FILTERS} >= {
        None,
        "gopher_too_many_hashes",
        "top_3_gram",
        "lorem_ipsum",
    }


def test_the_golden_texts_are_the_seeds() -> None:
    assert [row["text"] for row in json.loads(GOLDEN.read_text())] == golden_texts()


def test_reasons_are_named_once() -> None:
    names = [reason for family in REASONS.values() for reason in family.values()]
    assert len(names) == len(set(names))

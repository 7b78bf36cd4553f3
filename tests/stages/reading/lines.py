"""Lines of JSON of every sort, as files have them: many of one shape and plain, some odd, some damaged."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

SOUND = [
    "a",
    "Hi.",
    "A  b",
    " \n\n x ",
    "\t",
    "’",
    "Hi — “you”?",
    "é ",
    "\xa0x",
    "\x85",
    "\u3000 ",
    "ﬁ",
    "ﷺ",
    "日本",
    "각",
]
SOUND += ["👩🏽", "ß", "İ", "x" * 63, "y" * 64, "z" * 65, "\\", '"', "/", "#", "É "]
ODD = [
    "",
    " ",
    "É…",
    "â€™ Ã©",
    "Ã",
    "Ã é",
    "e\u0301",
    "ᄀ",
    "\u1161",
    "\x00",
    "\x0b",
    "\x1f",
    "\x7f",
    "\ufffd",
    "\ud800",
]
ODD += ["[", " [", "[{", "### Response:", "### Instruction:\nx\n\n### Response:"]
PLAIN: st.SearchStrategy[str] = st.lists(st.sampled_from(SOUND), min_size=1, max_size=4).map("a ".join).map("b".__add__)
TEXT = st.integers(0, 9).flatmap(
    lambda odds: PLAIN if odds else st.lists(st.sampled_from(SOUND + ODD), max_size=4).map("".join) | st.text()
)
NUMBERS = st.integers(-(10**20), 10**20) | st.decimals(-99, 99, places=2).map(float) | st.floats()
VALUE: st.SearchStrategy[Any] = TEXT | st.none() | st.booleans() | NUMBERS | st.sampled_from([[], {"a": [1]}])
MORE = st.fixed_dictionaries({}, optional={"task": VALUE, "input": VALUE, "user": TEXT, "é": TEXT, "label": VALUE})
SENDER = st.sampled_from(["user", "assistant", "system", "human", "gpt", "Human", "tool"])


def talk(sender: str, content: str, names: tuple[str, str]) -> st.SearchStrategy[Any]:
    """Return lists of messages, most of them in turn."""

    def in_turn(texts: list[str]) -> list[dict[str, str]]:
        roles = ("system",) * (len(texts) % 2) + names * (len(texts) // 2)
        return [{sender: role, content: text} for role, text in zip(roles, texts, strict=True)]

    odd = st.lists(st.fixed_dictionaries({sender: SENDER, content: VALUE}, optional={"n": VALUE}), max_size=4)
    even = st.lists(TEXT, min_size=2, max_size=5).map(in_turn)
    return st.integers(0, 7).flatmap(lambda odds: even if odds else odd)


def record(**values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Return records whose keys stand in their order, which hypothesis' own dictionaries do not keep."""
    return st.tuples(*values.values()).map(lambda drawn: dict(zip(values, drawn, strict=True)))


SHAPES = [
    record(messages=talk("role", "content", ("user", "assistant"))),
    record(id=VALUE, conversations=talk("from", "value", ("human", "gpt")), task=VALUE),
    record(prompt=TEXT, completion=TEXT),
    record(task=VALUE, prompt=TEXT, completion=TEXT, n=VALUE),
    record(instruction=TEXT, input=st.just("") | st.just("") | VALUE, output=TEXT),
    record(completion=TEXT, prompt=TEXT),
]
FORMATS = st.sampled_from(["auto"] * 4 + ["prompt_completion", "alpaca", "messages", "sharegpt"])
COLUMNS = st.sampled_from(
    [
        {},
        {"prompt": "completion", "completion": "prompt"},
        {"messages": "conversations"},
        {"conversations": "messages"},
        {"instruction": "prompt", "output": "completion"},
        {"question": "instruction", "answer": "output", "label": "input"},
        {"user": "task"},
        {"system": "id", "input": "n"},
        {"prompt": "task.a", "context": "task"},
    ]
)
NO_UTF8 = [
    b"\xff",
    b"\xe2\x80",
    b"\xc0\x80",
    b"\xed\xa0\x80",
    b"\xf0\x80\x80\x80",
    b"\xf4\x90\x80\x80",
    b"\xf4\xbf\xbf\xbf",
]
DAMAGE = [*NO_UTF8, b"{", b"}", b'"', b"\\", b"\\u12", b"\\ud83d", b",", b" ", b"\x00", b"01", b"\r"]
JUNK = [
    b"",
    b"  ",
    b"[1]",
    b"null",
    b'{"prompt": "a"',
    b'{"prompt": "a", "completion": "b"} x',
    b"\xef\xbb\xbf{}",
    b"{}",
]


@st.composite
def line(draw: st.DrawFn, shape: st.SearchStrategy[dict[str, Any]]) -> bytes:
    """Return a line: most are a record of a shape in one of the ways of JSON, some are damaged or junk."""
    odds = draw(st.integers(0, 19))
    value = draw(shape) | (draw(MORE) if odds == 0 else {})
    spaced = draw(st.sampled_from([(", ", ": "), (",", ":"), (" ,\t", "  : ")]))
    text = json.dumps(value, ensure_ascii=draw(st.booleans()), separators=spaced)
    ends = draw(st.sampled_from(["", "\r", " \t"]))
    data = f"{text}{ends}".encode("utf-8", "replace")
    if odds == 1:
        place = draw(st.integers(0, len(data)))
        data = data[:place] + draw(st.sampled_from(DAMAGE)) + data[place:]
    data = draw(st.sampled_from(JUNK)) if odds == 2 else data
    return data.replace(b"\n", b" ")


FILES = st.sampled_from(SHAPES).flatmap(lambda shape: st.lists(line(shape), max_size=7)).map(b"\n".join)

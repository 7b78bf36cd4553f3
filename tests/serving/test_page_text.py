"""How an answer looks on the page: its Markdown, its addresses, its sources, and no markup of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.serving.conftest import Chat
from tests.serving.retrieval.test_chat import knowing
from tests.serving.test_page import browser, page, pytestmark, reply, say
from tests.waiting import eventually

__all__ = ["browser", "page", "pytestmark"]


def test_sources_stand_under_the_answer_and_behind_its_numbers(browser: Any, workspace: Path) -> None:
    with knowing(workspace) as chat:
        chat.engine.text = "A red light means a fault [1]. `[1]` stays."
        page = browser.new_page()
        page.set_default_timeout(90_000)
        page.goto(chat.url)
        say(page, "What does a red light mean?")
        for _ in range(2):
            answer = reply(page, "means a fault")
            link = answer.locator(".text sup a")
            assert (link.inner_text(), link.get_attribute("href")) == ("[1]", "https://help.example/0")
            assert answer.locator(".sources li.cited").inner_text() == "Lights of the Hub"
            assert answer.locator(".text code").inner_text() == "[1]"
            assert page.locator(".mine").inner_text() == "What does a red light mean?"
            page.reload()
        page.close()


def test_a_narrow_window_never_scrolls_sideways(page: Any, chat: Chat) -> None:
    chat.engine.text = "A" * 300 + "\n\n```\n" + "code " * 60 + "\n```\n- one\n- two\n"
    page.set_viewport_size({"width": 360, "height": 640})
    say(page, "x" * 200)
    page.locator(".reply .actions").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_markup_in_an_answer_stays_text(page: Any, chat: Chat) -> None:
    chat.engine.text = "<img src=x onerror=alert(1)> **bold** <b>not</b>"
    say(page, "One")
    reply(page, "<img src=x onerror=alert(1)>")
    assert page.locator(".reply .text img").count() == 0
    assert page.locator(".reply .text strong").inner_text() == "bold"


def test_headings_emphasis_quotes_and_tables_are_shown_as_such(page: Any, chat: Chat) -> None:
    chat.engine.text = (
        "## Lights\n\n| colour | means |\n|---|---|\n| *red* | fault |\n\n> Wait.\n\n2*3*4 | 5 is a * b * c"
    )
    say(page, "One")
    text = reply(page, "Lights").locator(".text")
    assert text.locator("h3").inner_text() == "Lights"
    assert text.locator("th").all_inner_texts() == ["colour", "means"]
    assert text.locator("td").all_inner_texts() == ["red", "fault"]
    assert text.locator("em").all_inner_texts() == ["red"]
    assert text.locator("blockquote").inner_text() == "Wait."
    assert text.locator("p").inner_text() == "2*3*4 | 5 is a * b * c"


OUTLINE = """
Do this:
1. **Unplug** it
   and wait:
   - ten seconds
     * or more
   - <b>not</b> less

   Then look.

2. Run
   ```sh
   if it; then
     - no item
   fi
   ```
   - `done`
10) As before
\t- tabbed
- Of its own
"""


def outline(text: Any) -> list[Any]:
    """Return the nodes under a node: the words of each text, or the name of an element and what is under it."""
    script = """(node) => {
        const read = (one) => one.nodeType === 3 ? one.data.trim() : one.tagName === "PRE" ? ["PRE", one.innerText]
            : [one.tagName, ...[...one.childNodes].map(read).filter(String)];
        return read(node);
    }"""
    return list(text.evaluate(script)[1:])


def rendered(page: Any, markdown: str) -> Any:
    """Put Markdown in the place of the whole page; return where it stands."""
    page.evaluate(
        "async (text) => document.body.replaceChildren((await import('/markdown.js')).render(text))", markdown
    )
    return page.locator("body")


def test_lists_stand_within_the_items_that_they_belong_to(page: Any, chat: Chat) -> None:
    chat.engine.text = OUTLINE
    say(page, "One")
    text = reply(page, "Of its own").locator(".text")
    within = ["UL", ["LI", "ten seconds", ["UL", ["LI", "or more"]]], ["LI", "<b>not</b> less"]]
    code = ["PRE", "if it; then\n  - no item\nfi"]
    assert outline(text) == [
        ["P", "Do this:"],
        [
            "OL",
            ["LI", ["STRONG", "Unplug"], "it", ["BR"], "and wait:", within, ["P", "Then look."]],
            ["LI", "Run", code, ["UL", ["LI", ["CODE", "done"]]]],
            ["LI", "As before", ["UL", ["LI", "tabbed"]]],
        ],
        ["UL", ["LI", "Of its own"]],
    ]


@pytest.mark.parametrize(
    ("markdown", "shown"),
    [
        ("- a\n\n\n- b\nc", [["UL", ["LI", "a"], ["LI", "b"]], ["P", "c"]]),
        ("1. a\n- b\n2. c", [["OL", ["LI", "a"]], ["UL", ["LI", "b"]], ["OL", ["LI", "c"]]]),
        ("  - a\n- b\n  - c", [["UL", ["LI", "a"], ["LI", "b", ["UL", ["LI", "c"]]]]]),
        ("- ```\n  x\n  ```\n- b", [["UL", ["LI", ["PRE", "x"]], ["LI", "b"]]]),
        ("1. a\n   ```\nx\n   ```\n2. b", [["OL", ["LI", "a", ["PRE", "x"]], ["LI", "b"]]]),
        ("````\n```js\n````\nb", [["PRE", "```js"], ["P", "b"]]),
        ("```\nnot ended", [["PRE", "not ended"]]),
        ("- - a\n-b\n1.5 c", [["UL", ["LI", "- a"]], ["P", "-b", ["BR"], "1.5 c"]]),
        ("- a\n  | b | c |\n  |---|---|", [["UL", ["LI", "a", ["TABLE", ["TR", ["TH", "b"], ["TH", "c"]]]]]]),
    ],
)
def test_what_belongs_to_an_item_is_told_by_its_indentation(page: Any, markdown: str, shown: Any) -> None:
    assert outline(rendered(page, markdown)) == shown


def test_lists_in_lists_without_end_are_shown_as_deep_as_can_be_read(page: Any) -> None:
    rendered(page, "\n".join(f"{' ' * depth}- {depth}" for depth in range(0, 600, 2)))
    assert page.locator("li").count() == 300
    assert page.locator("ul ul ul ul ul ul").count() == 1
    assert page.locator("ul ul ul ul ul ul ul").count() == 0


def test_addresses_are_links_that_show_where_they_lead_and_words_beside_them_can_be_marked(
    page: Any, chat: Chat
) -> None:
    chat.engine.text = (
        "See [the *manual*](https://help.brindlewick.example/a?b=1), or https://brindlewick.example/x_(y). "
        "Not [this](javascript:x) nor `https://brindlewick.example/code`. **Wrong here.**"
    )
    say(page, "One")
    text = reply(page, "Wrong here.").locator(".text")
    links = ["https://help.brindlewick.example/a?b=1", "https://brindlewick.example/x_"]
    assert [link.get_attribute("href") for link in text.locator("a").all()] == links
    assert text.locator("a").all_inner_texts() == links
    assert "See the *manual* (https://help.brindlewick.example/a?b=1), or" in text.inner_text()
    page.evaluate("getSelection().selectAllChildren(document.querySelector('.text strong'))")
    page.get_by_role("button", name="Mark as wrong").click()
    assert eventually(lambda: chat.events())
    (span,) = chat.events()[0]["spans"]
    assert chat.events()[0]["reply"][span["start"] : span["end"]] == "Wrong here."

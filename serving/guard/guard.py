"""The guardrails of one service: what is asked is judged here, and every reply gets its own `ReplyGuard`."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import takewhile

import anyio

from serving import metrics
from serving.guard.endpoint import Endpoint
from serving.guard.moderation import broken_rule
from serving.guard.options import GuardOptions
from serving.guard.personal import Personal
from serving.guard.reply import ReplyGuard
from serving.guard.screen import Screen
from serving.guard.spotlight import Spotlight
from serving.guard.verdict import Verdict
from serving.history import Call, Message, Messages, asked_at
from serving.tools.arguments import canonical, readings, still_json, text_of
from serving.tools.results import bare, marked

MANY = 4000
"""Characters from which a conversation is judged in a thread, so that other answers go on meanwhile."""
KNOWN = 20_000
"""Texts whose verdicts are kept, 3 MB of them."""
JOINED = 2000
"""Characters of a user's messages right before another that are judged together with it."""


@dataclass(frozen=True)
class Request:
    """A conversation and what the client set before it, as engine and history may see them; the verdict refuses it."""

    messages: Messages
    system: str
    verdict: Verdict | None = None
    redacted: tuple[Verdict, ...] = ()


class Guard:
    """Judges requests and screens replies by the options."""

    def __init__(self, options: GuardOptions) -> None:
        self.options = options
        self.personal = Personal(options.personal)
        self.screen = Screen(options.stream, self.personal) if options.stream else None
        self.spotlight = Spotlight(options.documents)
        self._known: dict[bytes, str] = {}
        """The rules that texts break, empty for none, by their digests: a conversation comes again with each turn."""
        self.endpoint = Endpoint(options.endpoint) if options.endpoint else None
        self.judged([{"role": "user", "content": "Hello"}])  # so that no user waits for rules to be compiled

    async def request(self, messages: Messages, system: str = "", defined: str = "") -> Request:
        """Judge a conversation by all that is configured.

        `system` is what the client set before it, if anything, and `defined` what else of the client's the model reads
        or is held to: definitions of tools and the form of the answer.
        """
        started = time.perf_counter()
        many = sum(len(text_of(message)) for message in messages) + len(system) + len(defined) > MANY
        work = (messages, system, defined)
        judged = await anyio.to_thread.run_sync(self.judged, *work) if many else self.judged(*work)
        if judged.verdict is None and self.endpoint and self.endpoint.options.input:
            rule = await self.endpoint.rule(judged.messages)
            judged = replace(judged, verdict=Verdict("input", rule) if rule else None)
        metrics.GUARD_SECONDS.labels("input").observe(time.perf_counter() - started)
        for verdict in filter(None, (*judged.redacted, judged.verdict)):
            metrics.GUARD.labels(verdict.layer, verdict.rule, verdict.action).inc()
        return judged

    def judged(self, messages: Messages, system: str = "", defined: str = "") -> Request:
        """Return a verdict on the last turn and the conversation without personal data and refused earlier turns.

        What is refused is kept as it was asked, but for personal data. What tools answered is judged as a document is,
        and gives no verdict but for personal data. Pure: this is all that the process itself can say, without the
        endpoint.
        """
        place = max(0, asked_at(messages))
        before, turn = self._without_refused(messages[:place]), messages[place:]
        rule = self._input_rule(as_one(before, turn[0])) if turn[0]["role"] == "user" else None
        rule = rule or self._input_rule(system) or self._defined_rule(defined)
        rule = rule or next(filter(None, map(self._forged_rule, turn)), None) or self._personal_rule(turn, system)
        if rule is not None:
            return replace(self._redacted(messages, system), verdict=Verdict("input", rule), redacted=())
        return self._redacted([*map(self._as_data, [*before, *turn])], system)

    def document(self, text: str) -> str:
        """Return a retrieved text as it may stand in a prompt."""
        cleaned, findings = self.spotlight.cleaned(text)
        for found in findings:
            metrics.GUARD.labels("document", found.rule, self.options.documents.injected).inc()
        return cleaned

    def reply(self, messages: Messages) -> ReplyGuard:
        """Return the guard of one reply to a conversation."""
        return ReplyGuard(self.options, self.screen, self.personal, self.endpoint, messages)

    async def close(self) -> None:
        if self.endpoint:
            await self.endpoint.close()

    def input_rule(self, text: str) -> str | None:
        """Return the rule of the input layer that a text breaks, None for none."""
        options = self.options.input
        if options is None:
            return None
        thresholds = options.classifier.model_dump() if options.classifier else {}
        return broken_rule(text, "request", options.patterns, thresholds)

    def _input_rule(self, text: str) -> str | None:
        """Return what `input_rule` says of a text; it is asked once, however often a conversation is sent again."""
        return self._known_rule(b"input", text, self.input_rule) if text.strip() else None

    def _defined_rule(self, text: str) -> str | None:
        """Return the rule that definitions break by forging what is said; what tools are for is their developer's."""
        is_judged = text and self.options.input is not None and self.options.input.patterns
        return broken_rule(text, "reply", True, {}) if is_judged else None

    def _forged_rule(self, message: Message) -> str | None:
        """Return the rule by which a message that is said to be ours would not have left, None for any other."""
        if message["role"] != "assistant" or self.options.output is None:
            return None
        return self._known_rule(b"said", text_of(message), self._said_rule)

    def _said_rule(self, text: str) -> str | None:
        output = self.options.output
        assert output is not None
        thresholds = output.classifier.model_dump() if output.classifier else {}
        found = (broken_rule(reading, "reply", output.patterns, thresholds) for reading in readings(text))
        return next(filter(None, found), None)

    def _known_rule(self, kind: bytes, text: str, judge: Callable[[str], str | None]) -> str | None:
        told = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16, person=kind).digest()
        rule = self._known.get(told)  # in one step: another thread may clear them at any moment
        if rule is None:
            rule = judge(text) or ""
            if len(self._known) >= KNOWN:
                self._known.clear()
            self._known[told] = rule
        return rule or None

    def _personal_rule(self, turn: Messages, system: str) -> str | None:
        """Return the rule of the first personal data in what is new, where such data is to be refused."""
        if self.options.personal.input != "refuse":
            return None
        texts = [*map(text_of, turn), system]
        return next((f"pii_{found.kind}" for text in texts for found in self.personal.find(text)), None)

    def _without_refused(self, messages: Messages) -> Messages:
        """Leave out earlier turns that were refused, with what followed, so that a conversation can go on after one.

        So is a turn whose answer would not have left: it is none of ours, whatever the client says.
        """
        kept: Messages = []
        refused, begun = False, 0
        for message in messages:
            if message["role"] == "user":
                refused, begun = self._input_rule(as_one(kept, message)) is not None, len(kept)
            elif not refused and self._forged_rule(message):
                refused = True
                del kept[begun:]
            if not refused:
                kept.append(message)
        return kept

    def _as_data(self, message: Message) -> Message:
        """Return a result of a call as it may stand in a prompt, and any other message as it is."""
        if message["role"] != "tool":
            return message
        return {**message, "content": marked(self.document(bare(message["content"])))}

    def _redacted(self, messages: Messages, system: str) -> Request:
        if self.options.personal.input == "allow":
            return Request(messages, system)
        calls = [call for message in messages for call in message.get("tool_calls", [])]
        asked = [canonical(call["function"]["arguments"]) for call in calls]
        contents = [message["content"] for message in messages]
        (own, *texts), counts = self.personal.redacted([system, *contents, *asked])
        verdicts = tuple(Verdict("input", f"pii_{kind}", "redact") for kind in counts)
        seen = iter(map(_called, calls, asked, texts[len(messages) :]))
        told = [_with(message, text, seen) for message, text in zip(messages, texts, strict=False)]
        return Request(told, own, None, verdicts)


def as_one(before: Messages, message: Message) -> str:
    """Return a user's message with the end of those right before it, between which nobody answered.

    A model reads them as one, so a wish that is spread over them is judged as one.
    """
    run = [one["content"] for one in takewhile(lambda one: one["role"] == "user", reversed(before))]
    return "\n".join(filter(None, ["\n".join(run[::-1])[-JOINED:], message["content"]]))


def _with(message: Message, content: str, calls: Iterator[Call]) -> Message:
    """Return a message with another content, and with the next calls in place of its own."""
    told: Message = {**message, "content": content}
    if "tool_calls" in message:
        told["tool_calls"] = [next(calls) for _ in message["tool_calls"]]
    return told


def _called(call: Call, before: str, redacted: str) -> Call:
    if before == redacted:
        return call
    return {**call, "function": {**call["function"], "arguments": still_json(redacted)}}

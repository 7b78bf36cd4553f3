"""One reply on its way out: through the window, then sentence by sentence, then judged whole."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager

from anyio import to_thread

from serving import metrics
from serving.guard.calls import broken_by
from serving.guard.endpoint import Endpoint
from serving.guard.moderation import broken_rule
from serving.guard.options import GuardOptions, OutputOptions
from serving.guard.personal import Personal
from serving.guard.screen import Screen
from serving.guard.sentences import Sentences, has_ended
from serving.guard.verdict import Layer, Verdict
from serving.guard.window import Window
from serving.history import FILTERED, Call, Messages
from serving.openai_api import ApiError
from serving.tools.arguments import text_of
from serving.tools.fragments import Fragments, in_parts, whole_calls
from serving.trace import note
from serving.upstream import Piece

MANY = 4000
"""Characters of calls from which they are judged in a thread, so that other answers go on meanwhile."""


def in_sentences(output: OutputOptions) -> Sentences:
    """Return what cuts a reply into the pieces in which it may leave."""
    return Sentences(output.sentence_characters, output.first_characters)


class ReplyGuard:
    """Screens a reply; its last sentence leaves when the whole has been judged, its calls of tools after that."""

    def __init__(
        self,
        options: GuardOptions,
        screen: Screen | None,
        personal: Personal,
        endpoint: Endpoint | None,
        messages: Messages,
    ) -> None:
        self.verdict: Verdict | None = None
        """The one that ended the reply."""
        self._options, self._personal, self._endpoint, self._messages = options, personal, endpoint, messages
        self._window = Window(screen) if screen else None
        self._sentences = in_sentences(options.output) if options.output else None
        self._said = ""
        self._begun = ""
        """What has left of a sentence that goes on."""
        self._seconds: dict[Layer, float] = {}

    async def screened(self, source: AsyncGenerator[Piece, None]) -> AsyncGenerator[Piece, None]:
        """Yield a reply's pieces as they may be sent; where one may not, the refusal, and no more is asked for.

        Raises:
            ApiError: that of the source, after what was said before it.
        """
        try:
            async with aclosing(source), aclosing(self._pieces(source)) as pieces:
                async for piece in pieces:
                    yield piece
        finally:
            self._count()

    async def _pieces(self, source: AsyncGenerator[Piece, None]) -> AsyncGenerator[Piece, None]:
        broken: ApiError | None = None
        calls: Fragments = ()
        try:
            async for piece in source:
                async for text in self._passed(piece.text):
                    yield Piece(text)
                if self.verdict:
                    break
                if self._judges:
                    calls += piece.calls
                elif piece.calls:
                    yield Piece(calls=piece.calls)
                if piece.finish or piece.reply_tokens:
                    yield Piece("", piece.finish, piece.prompt_tokens, piece.reply_tokens)
        except ApiError as error:
            broken = error
        async for text in self._rest():
            yield Piece(text)
        if broken:
            raise broken
        whole = whole_calls(calls)
        if whole and not self.verdict and await self._may_call(whole):
            yield Piece(calls=in_parts(whole))
        if self.verdict:
            yield Piece(("\n\n" if self._said else "") + self._options.refusal, FILTERED)

    async def _passed(self, text: str) -> AsyncGenerator[str, None]:
        """Yield the sentences that end with this piece, each judged."""
        with self._timed("stream"):
            text = self._window.feed(text) if self._window else text
        for sentence in self._sentences.feed(text) if self._sentences else [text]:
            if not await self._may_leave(sentence):
                return
            yield sentence
        self._stopped()

    async def _rest(self) -> AsyncGenerator[str, None]:
        """Yield what is left at the end; the very last of it when the whole is judged."""
        if self.verdict:
            return
        text = self._window.close() if self._window else ""
        sentences = [*self._sentences.feed(text), self._sentences.close()] if self._sentences else [text]
        for sentence in sentences[:-1]:
            if not await self._may_leave(sentence):
                return
            yield sentence
        self._stopped()
        if not self.verdict and await self._may_leave(sentences[-1], is_last=True):
            yield sentences[-1]

    def _stopped(self) -> None:
        """End the reply where the window did, once the sentences before have left."""
        if self._window and self._window.blocked and not self.verdict:
            self.verdict = self._window.blocked

    async def _may_leave(self, sentence: str, is_last: bool = False) -> bool:
        whole = self._said + sentence
        with self._timed("output"):
            rule = self._rule(self._begun + sentence) or (self._whole_rule(whole) if is_last and self._said else None)
            rule = rule or await self._endpoint_rule(whole, is_last)
        if rule is not None:
            self.verdict = Verdict("output", rule)
            return False
        early = self._options.output is not None and self._options.output.first_characters and not self._said
        self._begun = sentence if early and not has_ended(sentence) else ""
        self._said = whole
        return True

    @property
    def _judges(self) -> bool:
        """Tell whether anything judges what a reply calls; if so its calls leave once all of them have been judged."""
        asked = self._endpoint is not None and self._endpoint.options.output != "off"
        return self._window is not None or self._options.output is not None or asked

    async def _may_call(self, calls: list[Call]) -> bool:
        screen = self._window.screen if self._window else None
        with self._timed("output"):
            told = text_of({"role": "assistant", "content": self._said, "tool_calls": calls})
            work = (calls, screen, self._options.output)
            verdict = await to_thread.run_sync(broken_by, *work) if len(told) > MANY else broken_by(*work)
            if verdict is None and (rule := await self._endpoint_rule(told, is_last=True)):
                verdict = Verdict("output", rule)
        self.verdict = verdict
        return verdict is None

    def _rule(self, text: str) -> str | None:
        output = self._options.output
        if output is None or not text.strip():
            return None
        thresholds = output.classifier.model_dump() if output.classifier else {}
        return broken_rule(text, "reply", output.patterns, thresholds)

    def _whole_rule(self, whole: str) -> str | None:
        """Judge the whole; personal data in it would be a value that no window saw."""
        if self._options.output is None:
            return None
        found = self._personal.find(whole) if self._window and self._options.personal.output != "allow" else []
        return f"pii_{found[0].kind}" if found else self._rule(whole)

    async def _endpoint_rule(self, whole: str, is_last: bool) -> str | None:
        asked = self._endpoint.options.output if self._endpoint else "off"
        if self._endpoint is None or asked == "off" or not whole.strip() or (asked == "whole" and not is_last):
            return None
        return await self._endpoint.rule([*self._messages, {"role": "assistant", "content": whole}])

    @contextmanager
    def _timed(self, layer: Layer) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self._seconds[layer] = self._seconds.get(layer, 0.0) + time.perf_counter() - started

    def _count(self) -> None:
        for layer, seconds in self._seconds.items():
            metrics.GUARD_SECONDS.labels(layer).observe(seconds)
            note({f"guard.{layer}.seconds": seconds})
        redacted = [verdict for verdict in self._window.verdicts if verdict.action == "redact"] if self._window else []
        for verdict in filter(None, (*redacted, self.verdict)):
            metrics.GUARD.labels(verdict.layer, verdict.rule, verdict.action).inc()

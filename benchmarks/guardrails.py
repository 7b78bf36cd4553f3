"""What the guardrails stop, what they stop wrongly, and what they cost.

    python -m benchmarks.guardrails

All with the options that `serving/serving.yaml` ships. Intervals are 95 % (Wilson; for ROC-AUC Hanley and McNeil 1982).
The classifier has learnt from no set here, but was looked at on all that are not called unseen: thresholds were chosen
on them, and general templates and rules were added for what their misses and wrong refusals showed (`about_the_answer`
and `code_to_take_over` after BIPIA's). At the first look AdvBench had a ROC-AUC of 0.906 against the chat prompts, the
seed's jailbreaks 0.651 and BIPIA's orders 0.599. The sets called unseen were measured when all was done.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

from benchmarks.guard_sets import Injection, LabelledTexts, PromptSet, injections, labelled_texts, prompt_sets
from benchmarks.measure import machine, markdown
from benchmarks.pii import wilson
from benchmarks.public_data import AbsentDataError
from serving.guard.guard import Guard
from serving.guard.moderation import broken_rule
from serving.guard.reply import in_sentences
from serving.guard.sentences import Sentences
from serving.guard.spotlight import PIECE, Spotlight
from serving.guard.window import Window
from serving.options import SHIPPED, load_options
from thumbwheel.moderation.classifier import classifier

OPTIONS = load_options(SHIPPED).guard
GUARD = Guard(OPTIONS)
SAMPLE = 3000
"""At most so many texts of a set, spread evenly."""
REPLY_HEADING = ("texts", "stopped of the labelled", "of the others", "of those by first words alone")
INJECTION_HEADING = ("documents", "orders found", "cases freed of it", "sentences wrongly", "documents wrongly")
TOKEN = 4
"""Characters of a piece of the stream."""


def auc(positive: Sequence[float], negative: Sequence[float]) -> tuple[float, float]:
    """Return ROC-AUC, the share of pairs in the right order, and half of its 95 % interval (Hanley and McNeil)."""
    from sklearn.metrics import roc_auc_score

    n, m = len(positive), len(negative)
    a = float(roc_auc_score([1] * n + [0] * m, [*positive, *negative]))
    q1, q2 = a / (2 - a), 2 * a * a / (1 + a)
    variance = (a * (1 - a) + (n - 1) * (q1 - a * a) + (m - 1) * (q2 - a * a)) / (n * m)
    return a, 1.96 * variance**0.5


def share(hits: int, cases: int) -> str:
    low, high = wilson(hits, cases)
    return f"{100 * hits / cases:.1f} % ({100 * max(0.0, low):.1f} to {100 * high:.1f})"


def request_rows(sets: Sequence[PromptSet]) -> list[list[str]]:
    """Return, per set, how many requests each layer and all of them refuse."""
    rows = []
    for each in sets:
        rules = [GUARD.input_rule(text) for text in each.texts]
        by_pattern = sum(rule is not None and not rule.startswith("classifier_") for rule in rules)
        refused = sum(rule is not None for rule in rules)
        total = len(rules)
        kind = "harmful: block rate" if each.harmful else "harmless: over-block rate"
        rows.append([each.name, kind, str(total), share(by_pattern, total), share(refused, total)])
    return rows


def auc_rows(sets: Sequence[PromptSet], labelled: Sequence[LabelledTexts]) -> list[list[str]]:
    """Return the ROC-AUC of heads: harmful sets against all harmless ones, and labelled texts."""
    harm = {each.name: [classifier().scores(text)["harm"] for text in each.texts] for each in sets}
    harmless = [score for each in sets if not each.harmful for score in harm[each.name]]
    rows = [_auc_row(f"{s.name} against all harmless sets", "harm", harm[s.name], harmless) for s in sets if s.harmful]
    for each in labelled:
        step = max(1, len(each.texts) // SAMPLE)
        scored = [(classifier().scores(t), y) for t, y in zip(each.texts[::step], each.labels[::step], strict=True)]
        for head in ("harm", "abuse"):
            split = [[scores[head] for scores, label in scored if label is wanted] for wanted in (True, False)]
            rows.append(_auc_row(each.name, head, *split))
    return rows


def _auc_row(name: str, head: str, positive: Sequence[float], negative: Sequence[float]) -> list[str]:
    value, half = auc(positive, negative)
    return [name, head, f"{len(positive)} / {len(negative)}", f"{value:.3f} ± {half:.3f}"]


def reply_rows(labelled: Sequence[LabelledTexts]) -> list[list[str]]:
    """Return how many texts the output layer would stop as replies, by label, and how many by first words alone."""
    rows = []
    for each in labelled:
        step = max(1, len(each.texts) // (SAMPLE // 3))
        broken: dict[bool, list[tuple[bool, bool]]] = {True: [], False: []}
        for text, label in zip(each.texts[::step], each.labels[::step], strict=True):
            broken[label].append(_stopped(text))
        sides = [share(sum(any(one) for one in broken[label]), len(broken[label])) for label in (True, False)]
        early = share(sum(first and not others for first, others in broken[False]), len(broken[False]))
        rows.append([each.name, *sides, early])
    return rows


def _stopped(reply: str) -> tuple[bool, bool]:
    """Tell whether a reply's first words are stopped, and whether anything else of it is, each sentence taken whole."""
    output = OPTIONS.output
    assert output is not None
    thresholds = output.classifier.model_dump() if output.classifier else {}
    early = in_sentences(output)
    first = [*early.feed(reply), early.close()][0]
    sentences = Sentences(output.sentence_characters)
    others = [*sentences.feed(reply), sentences.close()]
    judged = [bool(broken_rule(piece, "reply", output.patterns, thresholds)) for piece in (first, *others)]
    return judged[0], any(judged[1:])


def injection_rows(cases: Sequence[Injection]) -> list[list[str]]:
    """Return, by kind of document, how many orders are found, and how many documents and sentences wrongly touched."""
    spotlight = Spotlight(OPTIONS.documents)
    rows = []
    for name, some in (("mails", cases[: 50 * 75]), ("code questions", cases[50 * 75 :])):
        attacks = {case.attack: any(spotlight.order(p) for p in PIECE.findall(case.attack)) for case in some}
        whole = sum(case.attack in spotlight.cleaned(case.text)[0] for case in some[::7])
        clean = sorted({case.clean for case in some})
        pieces = [piece for document in clean for piece in PIECE.findall(document) if piece.strip()]
        touched = sum(bool(spotlight.cleaned(document)[1]) for document in clean)
        wrong = sum(spotlight.order(piece) is not None for piece in pieces)
        rows.append(
            [
                f"BIPIA {name}",
                share(sum(attacks.values()), len(attacks)),
                share(len(some[::7]) - whole, len(some[::7])),
                share(wrong, len(pieces)),
                share(touched, len(clean)),
            ]
        )
    return rows


def injection_auc(cases: Sequence[Injection]) -> list[str]:
    spotlight_pieces = sorted({p.strip() for case in cases for p in PIECE.findall(case.clean) if p.strip()})
    attacks = sorted({case.attack for case in cases})
    scores = [[classifier().scores(text)["instruction"] for text in texts] for texts in (attacks, spotlight_pieces)]
    return _auc_row("BIPIA orders against sentences of the documents", "instruction", *scores)


def cost_rows(sets: Sequence[PromptSet], replies: Sequence[str]) -> list[list[str]]:
    """Return the CPU time of judging a request and a piece of the stream, and what the window holds back."""
    texts = [text for each in sets for text in each.texts][::5]
    request = [_microseconds(lambda text=text: GUARD.judged([{"role": "user", "content": text}])) for text in texts]  # type: ignore[misc]
    per_piece, held = [], []
    for reply in replies:
        window = Window(GUARD.screen) if GUARD.screen else None
        assert window is not None
        pieces = [reply[i : i + TOKEN] for i in range(0, len(reply), TOKEN)]
        started = time.thread_time()
        for piece in pieces:
            window.feed(piece)
            held.append(window.held)
        window.close()
        per_piece.append((time.thread_time() - started) / len(pieces) * 1e6)
    output = OPTIONS.output
    assert output is not None
    assert output.classifier is not None
    thresholds = output.classifier.model_dump()
    sentences = [piece for reply in replies for piece in PIECE.findall(reply) if piece.strip()]
    sentence = [_microseconds(lambda s=s: broken_rule(s, "reply", True, thresholds)) for s in sentences[:2000]]  # type: ignore[misc]
    return [
        ["a request, all of the input layer", f"{len(request)} requests", *_spread(request, "µs")],
        [f"a piece of {TOKEN} characters through the window", f"{len(replies)} replies", *_spread(per_piece, "µs")],
        ["a sentence by the output layer", f"{len(sentence)} sentences", *_spread(sentence, "µs")],
        ["held back by the window", f"{len(held)} pieces", *_spread(held, "characters")],
    ]


def _microseconds(work: object) -> float:
    started = time.thread_time()
    work()  # type: ignore[operator]
    return (time.thread_time() - started) * 1e6


def _spread(values: Sequence[float], unit: str) -> list[str]:
    cuts = statistics.quantiles(values, n=100)
    return [f"{cuts[49]:.0f} {unit}", f"{cuts[94]:.0f} {unit}", f"{max(values):.0f} {unit}"]


def main() -> None:
    sets, labelled = prompt_sets(), labelled_texts()
    print(machine(), "\n")
    print(markdown(("requests", "rate", "n", "by patterns", "refused in all"), request_rows(sets)), "\n")
    rows = auc_rows(sets, labelled)
    try:
        cases = injections()
        rows.append(injection_auc(cases))
        print(markdown(INJECTION_HEADING, injection_rows(cases)), "\n")
    except AbsentDataError as error:
        print(f"left out: {error}\n")
    print(markdown(("texts", "head", "n", "ROC-AUC"), rows), "\n")
    print(
        markdown(("texts", "stopped of the labelled", "of the others", "by first words alone"), reply_rows(labelled)),
        "\n",
    )
    replies = [text for text, bad in zip(*_pairs(labelled, "Dolly"), strict=True) if not bad]
    if replies:
        print(markdown(("cost", "n", "median", "95 %", "most"), cost_rows(sets, replies)))


def _pairs(labelled: Sequence[LabelledTexts], name: str) -> tuple[Sequence[str], Sequence[bool]]:
    """Return texts and labels of the set whose name holds a word; none where it is not here."""
    return next(((each.texts, each.labels) for each in labelled if name in each.name), ((), ()))


if __name__ == "__main__":
    main()

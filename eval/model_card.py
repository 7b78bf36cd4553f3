"""The model card: what a candidate is, what it learnt from, what it was shown to do, and what is not known of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from eval.dossier import Contents, number, still_open

Row = Mapping[str, Any]
WORDS = {"sft": "supervised fine-tuning", "dpo": "preference pairs (DPO)", "kto": "single thumbs (KTO)"}
LEARNT = ("conversations", "preferences", "unpaired")
"""Tables of `split` that the training stages read."""


def render(gate: Row, contents: Contents, base: str) -> str:
    """Return the card as Markdown, from what the dossier is made of and the name of the base model."""
    facts = {step["stage"]: dict(step["facts"]) for step in contents.models}
    made = (_head(gate, facts, base), _training(facts), _data(contents), _privacy(facts))
    return "\n\n".join("\n".join(part) for part in (*made, _results(gate), _limits(gate))) + "\n"


def _head(gate: Row, facts: Mapping[str, Row], base: str) -> Iterator[str]:
    against = f"version {gate['champion']['version']}" if gate["champion"]["version"] else "the base model"
    quantized = facts.get("quantize", {})
    yield f"# Model card of bundle {gate['bundle'][:12]}\n"
    yield f"A chat model, made from `{base}` by further training. Judged against {against}: **{gate['outcome']}**;"
    yield f"{gate['reason']}.\n"
    yield f"- bundle: `{gate['bundle']}`"
    if quantized:
        yield f"- weights: {quantized['format']}, {quantized['bytes_after'] / 1e6:.0f} MB"
    yield "- evidence: the dossier, beside this card"


def _training(facts: Mapping[str, Row]) -> Iterator[str]:
    yield "## How it was trained\n"
    yield "| stage | steps | validation loss, before and after |\n|---|---:|---:|"
    for stage, words in WORDS.items():
        if stage in facts:
            ends = [number(facts[stage].get(f"validation_loss_{end}")) for end in ("before", "after")]
            yield f"| {words} | {number(facts[stage].get('steps'))} | {' → '.join(ends)} |"


def _data(contents: Contents) -> Iterator[str]:
    yield "## What it learnt from\n"
    yield "| table | rows | version | fingerprint |\n|---|---:|---:|---|"
    for step in contents.data:
        if step["stage"] == "split":
            for table in (table for table in step["tables"] if table["name"] in LEARNT):
                yield f"| {table['name']} | {number(table['rows'])} | {table['version']} | {table['fingerprint']} |"
    yield "\nRows that were held out are among them. Sources, licences and what was turned away are in the data card."


def _privacy(facts: Mapping[str, Row]) -> Iterator[str]:
    yield "## Privacy\n"
    spent = facts.get("sft", {})
    if "epsilon" in spent:
        yield f"Conversations were learnt by DP-SGD: epsilon {spent['epsilon']:.3g} at delta {spent['delta']:g}, of one"
        yield "conversation, not of one user. Preference pairs and thumbs are not covered."
    else:
        yield "Trained without differential privacy: it may repeat what its data say. The stage `scrub` looked for"
        yield "personal data before."


def _results(gate: Row) -> Iterator[str]:
    yield "## What was measured\n"
    yield "| measure | candidate | champion | difference | outcome |\n|---|---:|---:|---:|---|"
    for line in gate["criteria"]:
        ends = "" if line["low"] is None or line["n"] < 2 else f" ({number(line['low'])} to {number(line['high'])})"
        moved = f"at most {number(line['margin'])}" if line["kind"] == "floor" else f"{number(line['delta'])}{ends}"
        both = f"{number(line['candidate'])} | {number(line['champion'])}"
        yield f"| {line['title']} | {both} | {moved} | {line['outcome']} |"
    judge = gate["judge"]
    yield f"\nThe judge `{judge['name']}` is {'heard' if judge['heard'] else 'not heard'}: {judge['reason']}."


def _limits(gate: Row) -> Iterator[str]:
    yield "## What is not known\n"
    yield from (f"- {line['title']}: {line['reason']}." for line in still_open(gate["criteria"]))
    unsaid = [one for one in gate["criteria"] if one["outcome"] in ("inconclusive", "abstain") and not one["required"]]
    yield from (f"- {line['title']} (not required): {line['reason']}." for line in unsaid)
    yield "- Everything that the questions above do not ask: they are samples of the sets in `params.yaml`."

"""The sentinel: looks at what a model says before each checkpoint is written, and stops the training that ruins it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from eval.collapse import CollapseLimits, Vitals, as_facts, collapse, vitals
from stages import templates
from stages.checkpoints import newest
from stages.generation import greedy, log_probabilities
from stages.launch import is_main
from stages.weights import reference
from thumbwheel import tracking
from thumbwheel.errors import TrainingError

Dialogue = Sequence[Mapping[str, str]]


class SentinelParams(CollapseLimits):
    """The limits, and what is looked at: greedy replies of `tokens` tokens to `prompts` prompts."""

    prompts: int = Field(gt=0)
    tokens: int = Field(gt=0)


@dataclass(frozen=True)
class Case:
    """A prompt and the reply that is wished for, as tokens; `labels` hold the reply's, else `IGNORED`."""

    prompt: list[int]
    whole: list[int]
    labels: list[int]

    def has_reply(self) -> bool:
        """Tell whether any of the reply is left."""
        return any(label != templates.IGNORED for label in self.labels)


def case(tokenizer: Any, dialogue: Dialogue, limit: int) -> Case:
    """Return a dialogue that ends with the reply, cut after `limit` tokens."""
    one = templates.encode(tokenizer, templates.training_template(tokenizer), dialogue, limit)
    asked = [dict(message) for message in dialogue[:-1]]
    prompt = list(tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_dict=True)["input_ids"])
    ignored = [templates.IGNORED] * len(prompt)
    return Case(prompt, one["input_ids"], (ignored + one["labels"][len(prompt) :])[: len(one["labels"])])


def watch(
    trainer: Any,
    params: SentinelParams | None,
    dialogues: Sequence[Dialogue],
    tokenizer: Any,
    limit: int,
    run: tracking.StageRun | None,
    frozen: Any | None = None,
) -> None:
    """Set the sentinel over a trainer, on the first dialogues whose reply lies within `limit` tokens.

    `frozen` is the reference where there is no adapter to switch off.
    """
    if params is None:
        return
    found = [one for dialogue in dialogues if (one := case(tokenizer, dialogue, limit)).has_reply()]
    if found:
        trainer.add_callback(sentinel(params, found[: params.prompts], tokenizer, run, frozen))


def alongside(
    model: Any,
    params: SentinelParams | None,
    dialogues: Sequence[Dialogue],
    tokenizer: Any,
    limit: int,
    run: tracking.StageRun | None,
    folder: Path,
) -> tuple[Callable[[int], None], Callable[[], dict[str, float]]]:
    """Return, for a training without a trainer, what looks at the model at a step, and what tells what was seen."""
    found = [one for dialogue in dialogues if (one := case(tokenizer, dialogue, limit)).has_reply()]
    if params is None or not found:
        return lambda step: None, dict
    callback = sentinel(params, found[: params.prompts], tokenizer, run, None)
    callback.on_train_begin(None, None, None, model=model)
    return lambda step: callback.check(model, step, folder), lambda: dict(callback.facts)


def seen(trainer: Any) -> dict[str, float]:
    """Return what the sentinel of a trainer saw of the model that training ended with; nothing without one."""
    return next((dict(one.facts) for one in trainer.callback_handler.callbacks if hasattr(one, "facts")), {})


def sentinel(
    params: SentinelParams, looked_at: Sequence[Case], tokenizer: Any, run: tracking.StageRun | None, frozen: Any | None
) -> Any:
    """Return the callback; its `facts` are what it saw last.

    The reference is `frozen`, or the model with its adapter off. It looks before a checkpoint is written, so that the
    newest one on disk is always of a model that was well.
    """
    from transformers import TrainerCallback

    class Sentinel(TrainerCallback):
        reference: Vitals | None = None
        facts: Mapping[str, float] = {}
        looked = -1
        """The step of the model that it looked at last."""

        def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
            self.reference = look(model, looked_at, params.tokens, tokenizer, frozen, on=False)

        def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
            if state.global_step % args.save_steps == 0 or state.global_step == state.max_steps:
                self.check(model, state.global_step, Path(args.output_dir))

        def on_train_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
            final = state.best_global_step if args.load_best_model_at_end else state.global_step
            if final != self.looked:
                self.check(model, final, Path(args.output_dir))

        def check(self, model: Any, step: int, folder: Path) -> None:
            assert self.reference is not None
            now = look(model, looked_at, params.tokens, tokenizer, frozen, on=True)
            self.facts, self.looked = as_facts(now, self.reference), step
            if run is not None:
                run.metrics({f"sentinel.{name}": value for name, value in self.facts.items()}, step)
            if (reason := collapse(now, self.reference, params)) is not None:
                raise TrainingError(f"the model collapses at step {step}: {reason}. {advice(folder)}")

    return Sentinel()


def advice(folder: Path) -> str:
    """Return what to do about a collapse, naming the last good checkpoint."""
    good = newest(folder) if is_main() else None
    kept = f"the last good checkpoint is {good}" if good else "no checkpoint was written before it"
    return f"Lower the learning rate or the steps, or look at the data; {kept}."


def look(model: Any, looked_at: Sequence[Case], tokens: int, tokenizer: Any, frozen: Any | None, on: bool) -> Vitals:
    """Return the vitals of a model in training, or of its reference; it is left as it was found."""
    training = model.training
    model.eval()
    try:
        with nullcontext(model) if on else reference(model, frozen) as asked:
            replies = greedy(asked, [one.prompt for one in looked_at], tokens)
            chosen = mean([likelihood(asked, one) for one in looked_at])
        both = zip(looked_at, replies, strict=True)
        kl = mean([divergences(model, frozen, one.prompt, reply) for one, reply in both]) if on else 0.0
    finally:
        model.train(training)
    return vitals(kl, chosen, replies, [tokenizer.decode(reply, skip_special_tokens=True) for reply in replies])


def likelihood(model: Any, one: Case) -> list[float]:
    """Return the log-probability of each token of the wished-for reply."""
    places = [i for i, label in enumerate(one.labels) if label != templates.IGNORED]
    logs = log_probabilities(model, one.whole, places)
    return [float(value) for value in logs[range(len(places)), [one.whole[place] for place in places]]]


def divergences(model: Any, frozen: Any | None, prompt: list[int], reply: list[int]) -> list[float]:
    """Return the Kullback-Leibler divergence of the model from its reference at each token of its own reply."""
    places = range(len(prompt), len(prompt) + len(reply))
    logs = log_probabilities(model, prompt + reply, places)
    with reference(model, frozen) as before:
        others = log_probabilities(before, prompt + reply, places)
    return [float(value) for value in (logs.exp() * (logs - others)).sum(dim=-1)]


def mean(values: Sequence[Sequence[float]]) -> float:
    """Return the mean over all tokens."""
    flat = [value for one in values for value in one]
    return sum(flat) / len(flat) if flat else 0.0

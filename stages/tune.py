"""Search for a training stage's parameters: every trial a run in MLflow, and a search that was stopped goes on.

    python -m stages.tune               # make tune: `tune.trials` trials over the data of the last turn
    python -m stages.tune --jobs 2      # so many at once; TRIALS and JOBS with make

Optuna keeps the study in `.thumbwheel/tune.db`; other data, another base model or another search is another study.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import logging
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import yaml
from pydantic import Field, model_validator

from stages import weights
from stages.trial import BEFORE, KINDS, changed, train
from thumbwheel import tracking
from thumbwheel.bundle import bundle_hash
from thumbwheel.command import run
from thumbwheel.errors import ParamsError, TrainingError, TurnError
from thumbwheel.lake import read_pin, write_json
from thumbwheel.params import Params, load_params
from thumbwheel.settings import settings

if TYPE_CHECKING:
    from optuna import Study, Trial

log = logging.getLogger(__name__)


class Range(Params):
    """Numbers from `low` to `high`, both included; whole ones where both are whole, by logarithm with `log`."""

    low: int | float
    high: int | float
    log: bool = False

    @model_validator(mode="after")
    def _has_an_order(self) -> Range:
        if self.low >= self.high or (self.log and self.low <= 0):
            raise ValueError(f"{self.low} to {self.high} is no range{' with a logarithm' if self.log else ''}")
        return self


class TuneParams(Params):
    """Which stage is searched, over what, and which number of its report is to become the least or the greatest.

    `space` names parameters of the stage by dotted keys; each is a range or a list of choices.
    """

    stage: Literal["sft", "dpo", "kto"]
    measure: str
    direction: Literal["minimize", "maximize"]
    trials: int = Field(gt=0)
    seed: int
    space: dict[str, Range | list[int | float | str]] = Field(min_length=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--trials", type=int, metavar="N", help="finished trials that the study is to have")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="trials at once, each in its own process")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    params = load_params("tune", TuneParams)
    if options.trials is not None:
        params = params.model_copy(update={"trials": options.trials})
    check(params)
    if options.worker:
        search(params, params.seed + 1 + options.jobs)
        return
    with alone():
        name = study_name(params)
        take_up(open_study(name, params))
        if options.jobs > 1:
            in_processes(options.jobs, params)
        else:
            search(params, params.seed)
        report(open_study(name, params), params)


def check(params: TuneParams) -> None:
    """Refuse a space that the stage's parameters do not have, before anything is trained.

    Raises:
        ParamsError: a key that is not there, or a value that may not stand there.
    """
    for ends in ("low", "high"):
        values = {
            name: getattr(one, ends) if isinstance(one, Range) else one[0 if ends == "low" else -1]
            for name, one in params.space.items()
        }
        changed(params.stage, values)


def study_name(params: TuneParams) -> str:
    """Return the name of the search: another for other data, models, parameters or space."""
    tables = read_pin("split").tables
    models = [bundle_hash(settings().models / "base")]
    models += [weights.weights_hash(settings().models / name) for name in BEFORE[params.stage]]
    parts: list[Any] = [tables[name].fingerprint for name in sorted(tables)]
    parts += [models, load_params(params.stage, KINDS[params.stage]).model_dump()]
    parts.append(params.model_dump(exclude={"trials"}))
    return f"{params.stage}-{hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]}"


def open_study(name: str, params: TuneParams, seed: int = 0) -> Study:
    """Return the study of that name, made where there is none."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    settings().state_dir.mkdir(parents=True, exist_ok=True)
    # Trials of other processes that still run count as poor ones, so that no two look at the same place.
    sampler = optuna.samplers.TPESampler(seed=seed, constant_liar=True, n_startup_trials=5)
    return optuna.create_study(
        storage=f"sqlite:///{settings().state_dir / 'tune.db'}",
        study_name=name,
        direction=params.direction,
        sampler=sampler,
        load_if_exists=True,
    )


def take_up(study: Study) -> None:
    """Put the trials that a kill cut short at the head of the queue; they go on from their checkpoints."""
    from optuna.trial import TrialState

    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        log.info("taking up trial %d again, which was cut short", trial.number)
        study.tell(trial.number, state=TrialState.FAIL)
        study.enqueue_trial(trial.params)


def search(params: TuneParams, seed: int) -> None:
    """Run trials until the study has as many finished ones as are wanted."""
    from optuna.study import MaxTrialsCallback
    from optuna.trial import TrialState

    done = (TrialState.COMPLETE, TrialState.PRUNED)
    study = open_study(study_name(params), params, seed)
    left = params.trials - len(study.get_trials(deepcopy=False, states=done))
    if left > 0:
        study.optimize(
            lambda trial: try_out(trial, params),
            n_trials=left,
            callbacks=[MaxTrialsCallback(params.trials, states=done)],
        )


def try_out(trial: Trial, params: TuneParams) -> float:
    """Train with a trial's parameters and return the measure; a training that must not go on has none.

    Raises:
        ParamsError: the stage's report has no such number.
    """
    from optuna import TrialPruned

    values = {name: suggest(trial, name, one) for name, one in params.space.items()}
    tried = changed(params.stage, values)
    with tracking.stage_run(f"tune {params.stage} {trial.number}", tried) as found:
        try:
            facts = train(params.stage, tried, found, trial.study.study_name)
        except TrainingError as error:
            found.tag("stopped", str(error))
            trial.set_user_attr("stopped", str(error))
            raise TrialPruned(str(error)) from None
        found.metrics({name: value for name, value in facts.items() if isinstance(value, int | float)})
    if not isinstance(value := facts.get(params.measure), int | float):
        numbers = ", ".join(name for name, one in facts.items() if isinstance(one, int | float))
        raise ParamsError(f"tune.measure names '{params.measure}', which {params.stage} does not report: {numbers}.")
    log.info("trial %d: %s %.6g with %s", trial.number, params.measure, value, values)
    return float(value)


def suggest(trial: Trial, name: str, space: Range | list[int | float | str]) -> int | float | str:
    """Return the value that a trial has at a place of the space."""
    if isinstance(space, list):
        choice: Any = trial.suggest_categorical(name, space)
        return choice  # type: ignore[no-any-return]
    if isinstance(space.low, int) and isinstance(space.high, int):
        return trial.suggest_int(name, space.low, space.high, log=space.log)
    return trial.suggest_float(name, space.low, space.high, log=space.log)


def in_processes(jobs: int, params: TuneParams) -> None:
    """Run trials in several processes; all end with us.

    Raises:
        TurnError: a process ended with an error.
    """
    command = [sys.executable, "-m", "stages.tune", "--worker", "--trials", str(params.trials)]
    workers = [subprocess.Popen([*command, "--jobs", str(number)]) for number in range(jobs)]
    try:
        codes = [worker.wait() for worker in workers]
    finally:
        for worker in workers:
            if worker.poll() is None:
                worker.terminate()
                worker.wait()
    if any(codes):
        raise TurnError(f"{sum(map(bool, codes))} of {jobs} searches ended with an error; mend it and run again.")


def report(study: Study, params: TuneParams) -> None:
    """Print the trials, best first, and what to write into params.yaml; keep both in `data/reports/tune.json`.

    Raises:
        TrainingError: not one trial came to an end.
    """
    from optuna.trial import TrialState

    trials = study.get_trials(deepcopy=False)
    whole = [trial for trial in trials if trial.state == TrialState.COMPLETE and trial.value is not None]
    stopped = {
        trial.number: trial.user_attrs.get("stopped", "") for trial in trials if trial.state == TrialState.PRUNED
    }
    if not whole:
        raise TrainingError(
            f"no trial came to an end; {len(stopped)} were stopped: {next(iter(stopped.values()), '-')}"
        )
    whole.sort(key=lambda trial: float(trial.value or 0.0), reverse=params.direction == "maximize")
    best = changed_only(whole[0].params)
    for trial in whole:
        print(f"{trial.value:12.6g}  trial {trial.number:<3} {trial.params}")
    for number, why in stopped.items():
        print(f"     stopped  trial {number:<3} {why}")
    print(f"\nThe best {params.measure}; in params.yaml:\n\n{yaml.safe_dump({params.stage: best}, sort_keys=False)}")
    found = [{"trial": trial.number, "value": trial.value, "params": trial.params} for trial in whole]
    facts = {"study": study.study_name, "stage": params.stage, "measure": params.measure, "best": best}
    write_json(settings().reports / "tune.json", facts | {"trials": found, "stopped": stopped})


def changed_only(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values by dotted keys as nested sections."""
    nested: dict[str, Any] = {}
    for name, value in values.items():
        *sections, last = name.split(".")
        place = nested
        for section in sections:
            place = place.setdefault(section, {})
        place[last] = value
    return nested


@contextmanager
def alone() -> Iterator[None]:
    """Let one search at a time run; the kernel frees the lock whatever way we end.

    Raises:
        TurnError: another search runs.
    """
    settings().state_dir.mkdir(parents=True, exist_ok=True)
    with (settings().state_dir / "tune.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TurnError("another search runs here; wait for it, or give it more with --jobs.") from None
        yield


if __name__ == "__main__":
    run(main)

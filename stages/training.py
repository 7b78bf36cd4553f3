"""What `sft`, `dpo` and `quantize` share: the stack of models, the training template, checkpoints and reporting."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import json
import logging
import math
import os
import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, model_validator

from thumbwheel import processes, tracking
from thumbwheel.errors import ModelError, TrainingError
from thumbwheel.params import Params
from thumbwheel.settings import settings

if TYPE_CHECKING:
    import numpy as np

log = logging.getLogger(__name__)

STATE_FILE = "trainer_state.json"
"""The last file of a checkpoint that the trainer writes; without it a kill cut the checkpoint short."""
LOG_SECONDS = 60
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Numbers of glibc's mallopt(3)."""
BUCKET = 8
"""Batches that are sorted by length together: enough to save padding, few enough to stay random."""


class OptimiserParams(Params):
    """How long and how fast. `warmup` is a share of all steps; `steps` caps what `epochs` asks for.

    Every `save_steps` a checkpoint is written. With a `patience` the validation loss is measured there too: training
    ends when it has not fallen so many times in a row, and the best checkpoint is what is kept.
    """

    epochs: float
    steps: int
    learning_rate: float
    schedule: Literal["linear", "cosine", "constant"]
    warmup: float
    weight_decay: float
    batch: int
    accumulation: int
    save_steps: int = Field(gt=0)
    log_steps: int = Field(gt=0)
    patience: int | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _sees_every_loss(self) -> Self:
        """Refuse a checkpoint between two looks at the loss: it could hold weights that are no numbers."""
        if self.save_steps % self.log_steps:
            raise ValueError(f"save_steps ({self.save_steps}) must be a multiple of log_steps ({self.log_steps})")
        return self


def is_main() -> bool:
    """True in the one process that writes files; the others of a launch only compute."""
    return int(os.environ.get("RANK", "0")) == 0


@contextmanager
def main_run(stage: str, params: Params) -> Iterator[tracking.StageRun | None]:
    """Open the stage's tracker run in the main process; the others get None."""
    if is_main():
        with tracking.stage_run(stage, params) as run:
            yield run
    else:
        yield None


def quiet() -> None:
    """Show progress bars on a terminal only, and keep third parties from chatting or phoning home."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("DS_ACCELERATOR", settings().accelerator)
    os.environ.setdefault("TORCH_EXTENSIONS_DIR", str(processes.extensions_dir()))
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")
    from datasets import disable_progress_bars
    from transformers.utils import logging as hf_logging

    hf_logging.set_verbosity_error()
    if not sys.stderr.isatty():
        hf_logging.disable_progress_bar()
        disable_progress_bars()


def keep_memory() -> None:
    """Let glibc keep the memory that a step frees for the next one.

    Handing it back and faulting it in again took a sixth of the time of CPU training.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def load_tokenizer(folder: Path) -> Any:
    """Return the tokenizer of a model folder, with a pad token.

    Raises:
        ModelError: the folder is missing or damaged.
    """
    from transformers import AutoTokenizer

    require(folder, "config.json")
    tokenizer = loaded(folder, AutoTokenizer.from_pretrained)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    return tokenizer


def load_model(folder: Path, dtype: str) -> Any:
    """Return the causal language model of a folder with weights in `dtype` (`float32`, `bfloat16`), on the CPU.

    Raises:
        ModelError: the folder is missing or damaged.
    """
    from transformers import AutoModelForCausalLM

    require(folder, "config.json")
    return loaded(folder, AutoModelForCausalLM.from_pretrained, dtype=dtype)


def device() -> str:
    """Return where models compute outside the trainers, which choose for themselves."""
    return "cuda" if settings().accelerator == "cuda" else "cpu"


def schedule(lengths: Sequence[int], epochs: float, batch: int, steps: int, rng: np.random.Generator) -> list[int]:
    """Return the order in which to see examples: whole batches of like length, shuffled anew each epoch.

    At most `steps` batches; `epochs` may be a fraction. Fixing the order beforehand makes a resumed run see the very
    same batches.
    """
    order: list[int] = []
    total = min(steps * batch, math.ceil(epochs * len(lengths)))
    while len(order) < total:
        order += _one_epoch(lengths, batch, rng)
    return order[:total]


def checkpoint_folder(stage: str, *parts: Any) -> Path:
    """Return where a run keeps its checkpoints: another folder for other data, models or parameters."""
    key = hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]
    return settings().state_dir / "checkpoints" / f"{stage}-{key}"


def last_checkpoint(folder: Path) -> str | None:
    """Return the newest whole checkpoint in `folder`; those that a kill cut short are removed."""
    whole: list[tuple[int, Path]] = []
    for path in sorted(folder.glob("checkpoint-*")):
        try:
            whole.append((int(json.loads((path / STATE_FILE).read_text())["global_step"]), path))
        except (OSError, ValueError, KeyError):
            log.warning("removing %s, which a kill cut short", path.name)
            if is_main():
                shutil.rmtree(path, ignore_errors=True)
    if not whole:
        return None
    return str(max(whole)[1])


def trainer_arguments(folder: Path, optimiser: OptimiserParams, seed: int, validates: bool) -> dict[str, Any]:
    """Return the arguments that every trainer of ours takes; one that `validates` does so before its first step."""
    return {
        "output_dir": str(folder),
        "num_train_epochs": 1,
        "train_sampling_strategy": "sequential",
        "learning_rate": optimiser.learning_rate,
        "lr_scheduler_type": optimiser.schedule,
        "warmup_steps": optimiser.warmup,
        "weight_decay": optimiser.weight_decay,
        "per_device_train_batch_size": optimiser.batch,
        "per_device_eval_batch_size": optimiser.batch,
        "gradient_accumulation_steps": optimiser.accumulation,
        "eval_on_start": validates,
        "save_strategy": "steps",
        "save_steps": optimiser.save_steps,
        "save_total_limit": 2,
        **(early_end(optimiser) if validates else {}),
        "logging_steps": optimiser.log_steps,
        "logging_nan_inf_filter": False,
        "seed": seed,
        "bf16": True,
        "use_cpu": settings().accelerator == "cpu",
        "gradient_checkpointing": settings().accelerator != "cpu",
        "dataloader_pin_memory": settings().accelerator != "cpu",
        "disable_tqdm": not sys.stderr.isatty(),
        "report_to": "none",
    }


def early_end(optimiser: OptimiserParams) -> dict[str, Any]:
    """Return the arguments that measure at every checkpoint and keep the best one."""
    if optimiser.patience is None:
        return {}
    return {
        "eval_strategy": "steps",
        "eval_steps": optimiser.save_steps,
        "load_best_model_at_end": True,
        "metric_for_best_model": "eval_loss",
        "greater_is_better": False,
        "restore_callback_states_from_checkpoint": True,
    }


def callbacks(run: tracking.StageRun | None, optimiser: OptimiserParams, validates: bool) -> list[Any]:
    """Return the callbacks that every trainer of ours takes."""
    from transformers import EarlyStoppingCallback

    found = [reporter(run)]
    if validates and optimiser.patience is not None:
        found.append(EarlyStoppingCallback(optimiser.patience))
    return found


def reporter(run: tracking.StageRun | None) -> Any:
    """Return a callback that sends the loss curve to the tracker, logs a line a minute, and stops on a NaN loss."""
    from transformers import TrainerCallback

    class Reporter(TrainerCallback):
        said = time.monotonic()

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            values = {name: value for name, value in (logs or {}).items() if isinstance(value, int | float)}
            refuse_nan(values, state.global_step)
            if run is not None:
                run.metrics({name.replace("/", "_"): value for name, value in values.items()}, state.global_step)
            if is_main() and "loss" in values and time.monotonic() - self.said > LOG_SECONDS:
                self.said = time.monotonic()
                log.info("step %d of %d: loss %.4f", state.global_step, state.max_steps, values["loss"])

    return Reporter()


def without_printing(trainer: Any) -> Any:
    """Take from a trainer the callback that prints every metric as a dictionary; ours reports them."""
    from transformers import PrinterCallback

    trainer.remove_callback(PrinterCallback)
    return trainer


def fit(trainer: Any, checkpoint: str | None) -> tuple[dict[str, float], dict[str, float]]:
    """Train, from `checkpoint` on where there is one; return the validation metrics before and after.

    Raises:
        TrainingError: the disk is full. What was written before stays, and the next run goes on from there.
    """
    if checkpoint is not None:
        log.info("resuming from step %s", checkpoint.rpartition("-")[2])
        trainer.args.eval_on_start = False  # the history has it, and it would count against the patience
    try:
        trainer.train(resume_from_checkpoint=checkpoint)
    except Exception as error:  # weights are written by libraries that raise classes of their own
        if not is_full(error):
            raise
        raise TrainingError(
            f"the disk is full: a checkpoint did not fit into {trainer.args.output_dir}. Free some space and run "
            "again; it goes on from the last whole checkpoint."
        ) from None
    log.info("trained by %s", engine_name(trainer))
    before: dict[str, float] = next((entry for entry in trainer.state.log_history if "eval_loss" in entry), {})
    return without_prefix(before), without_prefix(trainer.evaluate()) if before else {}


def kept(trainer: Any) -> dict[str, int]:
    """Return the step of the checkpoint that is kept, where training looks for the best one."""
    return {"best_step": trainer.state.best_global_step} if trainer.args.load_best_model_at_end else {}


def is_full(error: Exception) -> bool:
    """Tell whether an error, of whatever class, says that the disk is full."""
    return getattr(error, "errno", None) == errno.ENOSPC or os.strerror(errno.ENOSPC) in str(error)


def engine_name(trainer: Any) -> str:
    """Return what ran the steps, such as `DeepSpeedEngine, ZeRO stage 3, 2 processes`."""
    engine, processes = trainer.model_wrapped, trainer.accelerator.num_processes
    stage = f", ZeRO stage {engine.zero_optimization_stage()}" if hasattr(engine, "zero_optimization_stage") else ""
    return f"{type(engine).__name__}{stage}, {processes} process{'es' if processes > 1 else ''}"


def refuse_nan(values: Mapping[str, float], step: int) -> None:
    """Raise `TrainingError` where a loss is not a number: the weights are lost from there on."""
    for name, value in values.items():
        if name.endswith("loss") and not math.isfinite(value):
            raise TrainingError(f"{name} is {value} at step {step}; lower the learning rate or look at the data.")


def curve(history: Iterable[Mapping[str, float]]) -> dict[str, float | None]:
    """Return the first and the last logged training loss."""
    losses = [float(entry["loss"]) for entry in history if "loss" in entry]
    return {"train_loss_first": rounded(losses[0]), "train_loss_last": rounded(losses[-1])} if losses else {}


def without_prefix(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return validation metrics by their bare names."""
    return {name.removeprefix("eval_"): float(value) for name, value in metrics.items()}


def rounded(value: float | None) -> float | None:
    """Return a metric with six digits behind the point, or None where it was not measured."""
    return None if value is None else round(value, 6)


def _one_epoch(lengths: Sequence[int], batch: int, rng: np.random.Generator) -> list[int]:
    shuffled = rng.permutation(len(lengths)).tolist()
    size = batch * BUCKET
    buckets = [sorted(shuffled[i : i + size], key=lambda j: (lengths[j], j)) for i in range(0, len(shuffled), size)]
    batches = [bucket[i : i + batch] for bucket in buckets for i in range(0, len(bucket), batch)]
    full = [one for one in batches if len(one) == batch]
    rest = [one for one in batches if len(one) < batch]
    return [j for k in rng.permutation(len(full)) for j in full[k]] + [j for one in rest for j in one]


def require(folder: Path, file: str) -> None:
    """Raise `ModelError` where a file of a model is missing."""
    if not (folder / file).is_file():
        raise ModelError(f"{folder} holds no model (no {file}); make it with: dvc repro.")


def loaded(folder: Path, load: Any, **options: Any) -> Any:
    """Return what `load` makes of a folder; whatever it raises becomes one `ModelError`."""
    try:
        return load(folder, **options)
    except Exception as error:  # readers of weights and configs raise many unrelated classes
        reason = str(error).strip().split("\n")[0]
        raise ModelError(f"{folder} cannot be loaded ({type(error).__name__}: {reason}); make it again.") from None

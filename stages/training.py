"""What the training stages and `quantize` share: how models are read, what every trainer is told, and reporting."""

from __future__ import annotations

import ctypes
import logging
import math
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from stages.checkpoints import room
from stages.launch import is_main
from thumbwheel import processes, tracking
from thumbwheel.errors import ModelError, TrainingError
from thumbwheel.params import Params
from thumbwheel.settings import settings

log = logging.getLogger(__name__)

LOG_SECONDS = 60
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Numbers of glibc's mallopt(3)."""


class OptimiserParams(Params):
    """How long and how fast. `warmup` is a share of all steps; `steps` caps what `epochs` asks for.

    Every `save_steps` a checkpoint is written. With a `patience` the validation loss is measured there too: training
    ends when it has not fallen so many times in a row, and the best checkpoint is what is kept.
    """

    epochs: float = Field(gt=0)
    steps: int = Field(gt=0)
    learning_rate: float = Field(gt=0)
    schedule: Literal["linear", "cosine", "constant"]
    warmup: float = Field(ge=0, lt=1)
    weight_decay: float = Field(ge=0)
    batch: int = Field(gt=0)
    accumulation: int = Field(gt=0)
    save_steps: int = Field(gt=0)
    log_steps: int = Field(gt=0)
    patience: int | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _sees_every_loss(self) -> Self:
        """Refuse a checkpoint between two looks at the loss: it could hold weights that are no numbers."""
        if self.save_steps % self.log_steps:
            raise ValueError(f"save_steps ({self.save_steps}) must be a multiple of log_steps ({self.log_steps})")
        return self


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

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            control.should_log |= state.global_step >= state.max_steps  # the last checkpoint is written at any step

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
        DiskFullError: a checkpoint did not fit; the next run goes on from the one before.
    """
    if checkpoint is not None:
        log.info("resuming from step %s", checkpoint.rpartition("-")[2])
        trainer.args.eval_on_start = False  # the history has it, and it would count against the patience
    with room(Path(trainer.args.output_dir)):
        trainer.train(resume_from_checkpoint=checkpoint)
    log.info("trained by %s", engine_name(trainer))
    before: dict[str, float] = next((entry for entry in trainer.state.log_history if "eval_loss" in entry), {})
    return without_prefix(before), without_prefix(trainer.evaluate()) if before else {}


def kept(trainer: Any) -> dict[str, int]:
    """Return the step of the checkpoint that is kept, where training looks for the best one."""
    return {"best_step": trainer.state.best_global_step} if trainer.args.load_best_model_at_end else {}


def engine_name(trainer: Any) -> str:
    """Return what ran the steps, such as `DeepSpeedEngine, ZeRO stage 3, 2 processes`."""
    engine, processes = trainer.model_wrapped, trainer.accelerator.num_processes
    stage = f", ZeRO stage {engine.zero_optimization_stage()}" if hasattr(engine, "zero_optimization_stage") else ""
    return f"{type(engine).__name__}{stage}, {processes} process{'es' if processes > 1 else ''}"


def refuse_nan(values: Mapping[str, float], step: int) -> None:
    """Raise `TrainingError` where a loss is not a number, or a gradient: the weights are lost from there on."""
    for name, value in values.items():
        if (name.endswith("loss") or name == "grad_norm") and not math.isfinite(value):
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

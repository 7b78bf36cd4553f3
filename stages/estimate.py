"""What a training takes, before it starts: memory of a device and time, from the model's shape and the parameters.

Memory is counted as in Rajbhandari et al. 2020 (ZeRO) and Korthikanti et al. 2023 (activations), operations as in
Kaplan et al. 2020: 2 a weight and token forward, twice that for gradients of activations, and of weights, each.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from stages.adapters import LoraParams
from stages.launch import LaunchParams
from stages.weights import Dtype, Method
from thumbwheel.params import Params

Trained = Literal["sft", "dpo", "kto"]
GIB = 2**30
BYTES: dict[Dtype, float] = {"float32": 4.0, "bfloat16": 2.0}
FOUR_BITS = 0.516
"""Bytes of a weight in NF4 with double quantization: 4 bits, and 0.127 for the scales (Dettmers et al. 2023)."""
RUNTIME_GIB = 1.2
"""Python, torch and its libraries, measured on the CPU; a CUDA context is of that order."""
LOGIT_BYTES = 12
"""Of a token and vocabulary entry: logits in 16 and 32 bits, and the gradient of each."""
PACKED = 1.8
"""How much longer a token takes on a GPU where conversations share a row: attention then reads a mask that keeps them
apart, and cannot be torch's fast one. Measured on an H200 (`benchmarks.training_estimate`)."""
SHARDED = ("fsdp2", "zero3", "zero3_offload")


class Shape(Params):
    """A decoder of Llama's family: grouped attention, gated feed-forward, RMS norms, no biases."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    vocabulary: int
    tied: bool

    @property
    def linear(self) -> list[tuple[int, int]]:
        """Widths in and out of a layer's linear modules."""
        h, kv = self.hidden, self.hidden // self.heads * self.kv_heads
        attention = [(h, h), (h, kv), (h, kv), (h, h)]
        return [*attention, (h, self.intermediate), (h, self.intermediate), (self.intermediate, h)]

    @property
    def linear_weights(self) -> int:
        """Weights in the linear modules of all layers, the head left out."""
        return self.layers * sum(a * b for a, b in self.linear)

    @property
    def weights(self) -> int:
        """All weights."""
        embeddings = self.vocabulary * self.hidden * (1 if self.tied else 2)
        return self.linear_weights + embeddings + (2 * self.layers + 1) * self.hidden

    def lora(self, rank: int) -> int:
        """Weights of an adapter of this rank on all linear modules."""
        return self.layers * sum(rank * (a + b) for a, b in self.linear)


class Hardware(Params):
    """What it runs on. `tflops` are of dense 16-bit products on a device; `efficiency` is the share that is reached."""

    name: str
    devices: int = Field(ge=1)
    memory_gib: float = Field(gt=0)
    tflops: float = Field(gt=0)
    efficiency: float = Field(gt=0, le=1)


@dataclass(frozen=True)
class Job:
    """A training stage as far as it costs: `tokens` of all examples that it will see, both replies of a pair.

    KTO reads each prompt with another's reply too, which costs what a second reply does.
    """

    stage: Trained
    method: Method
    dtype: Dtype
    lora: LoraParams
    launch: LaunchParams | None
    batch: int
    length: int
    tokens: int
    checkpointing: bool
    watched: bool
    packed: bool = False


@dataclass(frozen=True)
class Estimate:
    """Gibibytes of one device, by what they are for, and seconds."""

    weights: float
    reference: float
    optimiser: float
    activations: float
    logits: float
    seconds: float | None

    @property
    def gib(self) -> float:
        """All of it, with what the runtime itself takes."""
        return self.weights + self.reference + self.optimiser + self.activations + self.logits + RUNTIME_GIB


def shape_of(folder: Path) -> Shape | None:
    """Return the shape of the model in `folder`; None where its family is another and the counts would be wrong."""
    config = json.loads((folder / "config.json").read_text())
    if config.get("model_type") not in ("llama", "mistral"):
        return None
    return Shape(
        layers=config["num_hidden_layers"],
        hidden=config["hidden_size"],
        intermediate=config["intermediate_size"],
        heads=config["num_attention_heads"],
        kv_heads=config.get("num_key_value_heads") or config["num_attention_heads"],
        vocabulary=config["vocab_size"],
        tied=bool(config.get("tie_word_embeddings")),
    )


def estimate(shape: Shape, job: Job, hardware: Hardware | None = None) -> Estimate:
    """Return what a job takes of one device, and how long where the hardware is known."""
    sharded = job.launch is not None and job.launch.kind in SHARDED
    share = 1 / job.launch.processes if job.launch is not None and sharded else 1.0
    trained = shape.weights if job.method == "full" else shape.lora(job.lora.r)
    resident = 0.0 if job.launch is not None and job.launch.kind == "zero3_offload" else share
    tokens = job.batch * job.length * (1 if job.stage == "sft" else 2)
    copied = job.method == "full" and (job.stage != "sft" or job.watched)
    return Estimate(
        weights=weight_bytes(shape, job) * share / GIB,
        reference=shape.weights * BYTES[job.dtype] * (1.0 if job.stage == "sft" else share) / GIB if copied else 0.0,
        optimiser=trained * optimiser_bytes(job, sharded) * resident / GIB,
        activations=tokens * activation_bytes(shape, job.method, job.checkpointing) / GIB,
        logits=tokens * shape.vocabulary * LOGIT_BYTES / GIB,
        seconds=None if hardware is None else seconds(shape, job, hardware),
    )


def weight_bytes(shape: Shape, job: Job) -> float:
    """Return the bytes of the weights that are held, the adapter's included."""
    wide = BYTES[job.dtype]
    if job.method == "full":
        return shape.weights * wide
    linear = FOUR_BITS if job.method == "qlora" else wide
    return shape.linear_weights * linear + (shape.weights - shape.linear_weights) * wide + 4 * shape.lora(job.lora.r)


def optimiser_bytes(job: Job, sharded: bool) -> float:
    """Return the bytes a trained weight takes besides itself: gradient, two moments, and a copy of another width.

    ZeRO keeps a copy in 32 bits of weights in 16; autocast keeps one in 16 bits of weights in 32.
    """
    if job.method != "full":
        return 12.0
    if job.dtype == "bfloat16":
        return 14.0 if sharded else 6.0  # without sharding the moments are in 16 bits as the weights are
    return 14.0


def activation_bytes(shape: Shape, method: Method, checkpointing: bool) -> float:
    """Return the bytes that a token leaves for the backward pass, in all layers, attention computed in tiles.

    An adapter takes the input of its module in 32 bits and hands it on in 16, and keeps both.
    """
    kv = shape.hidden // shape.heads * shape.kv_heads
    layer = 28 * shape.hidden + 8 * shape.intermediate + 4 * kv
    if method != "full":
        layer += 6 * sum(width for width, _ in shape.linear)
    return 4 * shape.hidden * shape.layers + layer if checkpointing else float(layer * shape.layers)


def seconds(shape: Shape, job: Job, hardware: Hardware) -> float:
    """Return how long all tokens take on all devices together."""
    done = operations(shape, job) * job.tokens
    used = job.launch.processes if job.launch is not None else 1
    masked = PACKED if job.packed and job.checkpointing else 1.0
    return masked * done / (hardware.tflops * 1e12 * hardware.efficiency * min(used, hardware.devices))


def operations(shape: Shape, job: Job) -> float:
    """Return the floating-point operations of a token: forward, backward, what is computed again, and the reference."""
    embedded = 0 if shape.tied else shape.vocabulary * shape.hidden
    forward = 2.0 * (shape.weights - embedded) + 2.0 * shape.layers * shape.hidden * job.length
    passes = 3 if job.method == "full" else 2
    return forward * (passes + job.checkpointing + (job.stage != "sft"))

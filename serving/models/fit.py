"""Whether an adapter fits the bundle that is served, by the shapes of both.

The engine takes an adapter that is too narrow for its layers as it is, and answers with noise.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from serving.models.shelf import WEIGHTS
from thumbwheel.errors import ModelError

Shapes = Mapping[str, tuple[int, ...]]

PART = re.compile(r"base_model\.model\.(?P<layer>.+)\.lora_(?P<side>[AB])\.weight")


def refuse_unfit(adapter: Path, bundle: Path) -> None:
    """Raise `ModelError` unless every matrix of the adapter has a layer of its shape in the bundle."""
    base: dict[str, tuple[int, ...]] = {}
    for path in bundle.glob("*.safetensors"):
        base |= shapes_of(path)
    if not base:
        raise ModelError(f"{bundle} holds no *.safetensors, so that no adapter can be held against it.")
    if (misfit := first_misfit(shapes_of(adapter / WEIGHTS), base)) is not None:
        raise ModelError(f"the adapter does not fit the bundle that is served: {misfit}; train it on that bundle.")


def first_misfit(adapter: Shapes, base: Shapes) -> str | None:
    """Return in words the first matrix that does not fit, or None. A is of shape (rank, in), B of (out, rank).

    A layer is of shape (out, in); packed to 4 bits, it shows its `out` alone.
    """
    for name, shape in sorted(adapter.items()):
        if (part := PART.fullmatch(name)) is None:
            return f"{name} is no matrix of a linear layer"
        layer, is_input = part["layer"], part["side"] == "A"
        if (whole := base.get(f"{layer}.weight")) is not None:
            wanted = whole[1] if is_input else whole[0]
        elif (packed := base.get(f"{layer}.weight_packed")) is not None:
            wanted = shape[1] if is_input else packed[0]
        else:
            return f"it has no layer {layer}"
        if shape[1 if is_input else 0] != wanted:
            return f"{name} is {shape[0]} by {shape[1]}, where the layer has {wanted}"
    return None if adapter else "the adapter is empty"


def shapes_of(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a safetensors file by name; its numbers are not read.

    Raises:
        ModelError: it is no such file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} is not a safetensors file ({error}).") from None

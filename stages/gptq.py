"""Rounding weights so that a layer's outputs on real inputs change least: GPTQ (Frantar et al. 2023)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

Scale = Callable[[Any], Any]
"""Of weights (rows, columns) of one group, the step of each row's grid: (rows, 1)."""
DAMPING = 0.01
"""Added to the diagonal of the Hessian, as a share of its mean: what the calibration data do not tell."""
BLOCK = 128
"""Columns whose errors are carried over at once."""


def calibrate(model: Any, rows: Sequence[Sequence[int]], limit: int, group: int | None, scale: Scale) -> dict[str, Any]:
    """Round the linear layers of a decoder in place, and return the steps of their grids by module name.

    `rows` are token ids; a layer's inputs are what the rounded layers before it give. A row of a layer has one step for
    every `group` columns, or a single one where `group` is None: (outputs, groups). Weights are whole multiples of
    their step, of at most `limit` to either side.
    """
    import torch

    found: dict[str, Any] = {}
    prefix = next(name for name, one in model.named_modules() if one is model.get_decoder().layers)
    with torch.no_grad():
        states, options = _inputs(model, rows)
        for number, layer in enumerate(model.get_decoder().layers):
            modules = {n: one for n, one in layer.named_modules() if isinstance(one, torch.nn.Linear)}
            with _watched(modules) as hessians:
                for state, given in zip(states, options, strict=True):
                    layer(state, **given)
            for name, module in modules.items():
                width = group or module.in_features
                weight, steps = round_columns(module.weight.data, hessians[name], width, limit, scale)
                module.weight.data.copy_(weight)
                found[f"{prefix}.{number}.{name}"] = steps
            states = [_first(layer(state, **given)) for state, given in zip(states, options, strict=True)]
    return found


def round_columns(weight: Any, hessian: Any, group: int, limit: int, scale: Scale) -> tuple[Any, Any]:
    """Return weights (outputs, inputs) on their grid, and its steps (outputs, groups).

    The columns are rounded one after another; what a column is off by is made good in those to its right, by the
    inverse of the Hessian of the layer's squared error, (inputs, inputs).
    """
    import torch

    columns = weight.shape[1]
    left, inverse = weight.float().clone(), _inverse(hessian.float())
    done, steps = torch.zeros_like(left), []
    for start in range(0, columns, BLOCK):
        end = min(start + BLOCK, columns)
        errors = torch.zeros_like(left[:, start:end])
        for j in range(start, end):
            if j % group == 0:
                # the rest of this block has not yet paid for the columns before it beyond the block's own part
                steps.append(scale(_settled(left, errors, inverse, start, j, j + group)))
            done[:, j] = (left[:, j] / steps[-1][:, 0]).round().clamp(-limit - 1, limit) * steps[-1][:, 0]
            error = (left[:, j] - done[:, j]) / inverse[j, j]
            left[:, j:end] -= error[:, None] * inverse[j, j:end][None]
            errors[:, j - start] = error
        left[:, end:] -= errors @ inverse[start:end, end:]
    return done.to(weight.dtype), torch.cat(steps, dim=1)


def _settled(left: Any, errors: Any, inverse: Any, start: int, first: int, last: int) -> Any:
    """Return columns as they stand once the errors of this block so far are carried over to all of them."""
    end = min(start + BLOCK, left.shape[1])
    columns = left[:, first:last].clone()
    if last > end:
        columns[:, end - first :] -= errors @ inverse[start:end, end:last]
    return columns


def _inverse(hessian: Any) -> Any:
    """Return the upper Cholesky factor of a Hessian's inverse; an input that never comes gets a curvature of one."""
    import torch

    diagonal = torch.arange(hessian.shape[0], device=hessian.device)
    dead = hessian[diagonal, diagonal] == 0
    hessian[diagonal[dead], diagonal[dead]] = 1
    hessian[diagonal, diagonal] += DAMPING * hessian[diagonal, diagonal].mean()
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(hessian.double()))
    return torch.linalg.cholesky(inverse, upper=True).float()


@contextmanager
def _watched(modules: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the Hessians of the modules' squared error, (inputs, inputs), summed over all that comes in meanwhile."""
    import torch

    found = {
        name: torch.zeros(one.in_features, one.in_features, device=one.weight.device) for name, one in modules.items()
    }

    def hook(name: str) -> Callable[..., None]:
        def add(module: Any, given: Any) -> None:
            rows = given[0].detach().reshape(-1, module.in_features).float()
            found[name] += 2 * rows.T @ rows

        return add

    handles = [module.register_forward_pre_hook(hook(name)) for name, module in modules.items()]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _inputs(model: Any, rows: Sequence[Sequence[int]]) -> tuple[list[Any], list[dict[str, Any]]]:
    """Return what the first layer is given for each row: the embedded tokens, and the rest by name."""
    import torch

    states: list[Any] = []
    options: list[dict[str, Any]] = []

    class Caught(Exception):
        pass

    def catch(module: Any, given: Any, named: dict[str, Any]) -> None:
        states.append(given[0])
        options.append(named)
        raise Caught

    handle = model.get_decoder().layers[0].register_forward_pre_hook(catch, with_kwargs=True)
    try:
        for row in rows:
            try:
                model(input_ids=torch.tensor([list(row)], device=model.device), use_cache=False)
            except Caught:
                continue
    finally:
        handle.remove()
    return states, options


def _first(given: Any) -> Any:
    return given[0] if isinstance(given, tuple) else given

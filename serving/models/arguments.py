"""The options of the release's engine as vLLM takes them: arguments, and variables of its environment."""

from __future__ import annotations

import json
from typing import Any

from serving.models.options import EngineOptions, NgramOptions, Speculation


def engine_arguments(options: EngineOptions) -> list[str]:
    """Return the arguments of vLLM's server that the options stand for."""
    arguments = ["--enable-prefix-caching" if options.prefix_caching else "--no-enable-prefix-caching"]
    if options.speculation is not None:
        arguments += ["--speculative-config", json.dumps(_speculative_config(options.speculation))]
    if (adapters := options.adapters) is not None:
        arguments += ["--enable-lora", "--max-loras", str(adapters.at_once)]
        arguments += ["--max-cpu-loras", str(adapters.in_memory), "--max-lora-rank", str(adapters.rank)]
    if options.tools is not None:
        arguments += ["--enable-auto-tool-choice", "--tool-call-parser", options.tools.parser]
    return arguments


def engine_variables(options: EngineOptions) -> dict[str, str]:
    """Return what lets adapters come and go while the engine runs; it listens on the loopback interface alone."""
    return {} if options.adapters is None else {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1"}


def _speculative_config(wanted: Speculation) -> dict[str, Any]:
    if isinstance(wanted, NgramOptions):
        reach = {"prompt_lookup_min": wanted.shortest, "prompt_lookup_max": wanted.longest}
        return {"method": "ngram", "num_speculative_tokens": wanted.tokens, **reach}
    return {"method": "draft_model", "model": wanted.model, "num_speculative_tokens": wanted.tokens}

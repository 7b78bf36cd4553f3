"""What the engine is started with, by its options."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from serving.models.arguments import engine_arguments, engine_variables
from serving.models.counts import counts_of
from serving.models.options import AdapterOptions, EngineOptions

PLAIN: dict[str, Any] = {"prefix_caching": True, "speculation": None, "adapters": None, "tools": None}


def arguments(**changed: Any) -> list[str]:
    return engine_arguments(EngineOptions.model_validate({**PLAIN, **changed}))


def test_prefix_caching_is_always_said_one_way_or_the_other() -> None:
    assert arguments() == ["--enable-prefix-caching"]
    assert arguments(prefix_caching=False) == ["--no-enable-prefix-caching"]


@pytest.mark.parametrize(
    ("speculation", "config"),
    [
        (
            {"method": "ngram", "tokens": 4, "shortest": 2, "longest": 5},
            {"method": "ngram", "num_speculative_tokens": 4, "prompt_lookup_min": 2, "prompt_lookup_max": 5},
        ),
        (
            {"method": "draft", "model": "/models/small", "tokens": 3},
            {"method": "draft_model", "model": "/models/small", "num_speculative_tokens": 3},
        ),
    ],
)
def test_guesses_are_asked_for_in_vllms_words(speculation: dict[str, Any], config: dict[str, Any]) -> None:
    given = arguments(speculation=speculation)
    assert json.loads(given[given.index("--speculative-config") + 1]) == config


def test_adapters_may_come_and_go_only_where_there_are_slots() -> None:
    slots = AdapterOptions(at_once=2, in_memory=8, rank=16)
    with_slots = EngineOptions.model_validate({**PLAIN, "adapters": slots})
    assert engine_arguments(with_slots)[1:] == [
        "--enable-lora", "--max-loras", "2", "--max-cpu-loras", "8", "--max-lora-rank", "16",
    ]  # fmt: skip
    assert engine_variables(with_slots) == {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1"}
    assert engine_variables(EngineOptions.model_validate(PLAIN)) == {}
    with pytest.raises(ValidationError, match="in_memory"):
        AdapterOptions(at_once=4, in_memory=2, rank=16)


def test_counts_of_several_engines_behind_one_address_are_added() -> None:
    lines = [f'vllm:prefix_cache_hits_total{{engine="{n}"}} {n}.0' for n in (1, 2)]
    assert counts_of("\n".join([*lines, "other_total 9.0", ""])) == {"prefix_found": 3.0}
    assert counts_of("") == {}


def test_a_parser_of_calls_goes_with_the_switch_that_lets_the_model_choose() -> None:
    assert arguments(tools={"parser": "hermes"})[1:] == ["--enable-auto-tool-choice", "--tool-call-parser", "hermes"]


@pytest.mark.parametrize("parser", ["", "--api-key", "Hermes 2"])
def test_what_is_no_name_of_a_parser_is_refused(parser: str) -> None:
    with pytest.raises(ValidationError, match="parser"):
        arguments(tools={"parser": parser})

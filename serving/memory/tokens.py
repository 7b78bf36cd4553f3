"""The exact length of a prompt: the served bundle's own chat template and tokenizer, without loading its weights.

The template is rendered as transformers renders it and vLLM after it (`apply_chat_template`, then the tokenizer without
further special tokens), by Jinja and `tokenizers` alone: importing transformers brings torch, half a gigabyte of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from serving.history import Call, Message, Messages
from thumbwheel.errors import ModelError

if TYPE_CHECKING:
    from jinja2 import Template

Tools = Sequence[dict[str, Any]]
"""Definitions of tools, in OpenAI's form."""
SPECIAL = ("bos_token", "eos_token", "pad_token", "unk_token", "sep_token", "cls_token", "mask_token")


class PromptTokens(Protocol):
    """How many tokens the engine makes of messages, the opening of the answer included."""

    def count(self, messages: Messages, tools: Tools = ()) -> int: ...


class TemplateTokens:
    """Counts by a chat template and a tokenizer."""

    def __init__(self, template: str, special: dict[str, str], encode: Callable[[str], Sequence[int]]) -> None:
        self._template, self._special, self._encode = compiled(template), special, encode

    def render(self, messages: Messages, tools: Tools = ()) -> str:
        """Return the text that the model reads, up to where its answer begins.

        As in vLLM, arguments of calls are values to the template, and no JSON text.

        Raises:
            jinja2.TemplateError: the template refuses these messages, as it then does in the engine.
        """
        return self._template.render(
            messages=[*map(_parsed, messages)],
            tools=[*tools] or None,
            documents=None,
            add_generation_prompt=True,
            **self._special,
        )

    def count(self, messages: Messages, tools: Tools = ()) -> int:
        """Return the length of a prompt in tokens; raises as `render` does."""
        return len(self._encode(self.render(messages, tools)))


def load_tokens(bundle: Path) -> TemplateTokens:
    """Return the counter of a bundle.

    Raises:
        ModelError: the bundle lacks its tokenizer or chat template, or they cannot be read.
    """
    from jinja2 import TemplateError
    from tokenizers import Tokenizer

    try:
        config = json.loads((bundle / "tokenizer_config.json").read_text())
        tokenizer = Tokenizer.from_file(str(bundle / "tokenizer.json"))
        tokenizer.no_truncation()
        return TemplateTokens(chat_template(bundle, config), special_tokens(config), lambda text: _ids(tokenizer, text))
    except (OSError, ValueError, TemplateError) as error:
        raise ModelError(f"{bundle} has no tokenizer and chat template to count by: {error}") from None
    except Exception as error:  # tokenizers raises bare Exception for a file that it cannot read
        raise ModelError(f"{bundle / 'tokenizer.json'} cannot be read: {error}") from None


def chat_template(bundle: Path, config: dict[str, Any]) -> str:
    """Return a bundle's chat template: its own file, else the one in the tokenizer's configuration.

    Raises:
        ValueError: there is none.
    """
    path = bundle / "chat_template.jinja"
    if path.exists():
        return path.read_text()
    found = config.get("chat_template")
    if isinstance(found, list):
        found = {item["name"]: item["template"] for item in found}.get("default")
    if not isinstance(found, str):
        raise ValueError("no chat template")
    return found


def special_tokens(config: dict[str, Any]) -> dict[str, str]:
    """Return the tokens that a template may name, by their names."""
    found = {name: config.get(name) for name in SPECIAL}
    return {name: value["content"] if isinstance(value, dict) else value for name, value in found.items() if value}


def compiled(template: str) -> Template:
    """Return a chat template, sandboxed, with what transformers offers to it."""
    from jinja2.exceptions import TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def raise_exception(message: str) -> None:
        raise TemplateError(message)

    def to_json(value: Any, ensure_ascii: bool = False, indent: int | None = None, **more: Any) -> str:
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, **more)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = to_json
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return environment.from_string(template)


def with_system(system: str, messages: Messages) -> Messages:
    """Return messages as the engine gets them: the system text first, where there is any."""
    return [{"role": "system", "content": system}, *messages] if system else messages


def _parsed(message: Message) -> dict[str, Any]:
    calls = message.get("tool_calls")
    return {**message, "tool_calls": [*map(_parsed_call, calls)]} if calls else {**message}


def _parsed_call(call: Call) -> dict[str, Any]:
    try:
        arguments = json.loads(call["function"]["arguments"] or "{}")
    except ValueError:
        arguments = call["function"]["arguments"]
    return {**call, "function": {**call["function"], "arguments": arguments}}


def _ids(tokenizer: Any, text: str) -> Sequence[int]:
    found: Sequence[int] = tokenizer.encode(text, add_special_tokens=False).ids
    return found

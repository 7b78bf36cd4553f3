"""Load and unload LoRA adapters on the engine that runs; no restart, and the chat offers them at once.

python -m serving.models.adapters load NAME FOLDER [--sha256 HASH] [--tier TIER] [--tenant TENANT]
python -m serving.models.adapters unload NAME | list
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from serving.models.fit import refuse_unfit
from serving.models.options import AdapterOptions
from serving.models.shelf import CONFIG, SHORT, Adapter, adapter_shelf
from serving.options import load_options
from thumbwheel.errors import EngineError, ModelError, SettingsError
from thumbwheel.knowledge import tenant_name
from thumbwheel.settings import settings

NAME = r"[a-z0-9][a-z0-9._-]{0,39}"
SECONDS = 120
"""An engine may take for reading an adapter while it answers others."""


def rank_of(folder: Path, options: AdapterOptions) -> int:
    """Return the rank of the adapter in a folder.

    Raises:
        ModelError: it is of a kind that the engine cannot lay over its base, or of a higher rank than it has room for.
    """
    try:
        config = json.loads((folder / CONFIG).read_text())
        kind, rank = config["peft_type"], int(config["r"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"its {CONFIG} cannot be read ({error}); save it by peft's save_pretrained.") from None
    more = [name for name in ("use_dora", "modules_to_save") if config.get(name)]
    more += ["bias"] if config.get("bias", "none") != "none" else []
    if kind != "LORA" or more:
        raise ModelError(f"it is no plain LoRA adapter ({', '.join([kind, *more])}); train one without.")
    if rank > options.rank:
        raise ModelError(f"the adapter has rank {rank}, more than models.engine.adapters.rank = {options.rank}.")
    return rank


def load(wish: Any, release: Mapping[str, Any], engine: httpx.Client) -> Adapter:
    """Put an adapter on the shelf and into the engine, and list it only once the engine has it.

    Raises:
        ModelError, ReleaseError: it is none that may be served, or not the one that was meant.
        EngineError: the engine refuses it or is away.
        SettingsError: the engine has no slots for adapters, or the release has that name.
    """
    if wish.name == str(release["model"]).partition("/")[0]:
        raise SettingsError(f"'{wish.name}' is the release itself; choose another name.")
    slots, shelf = _slots(), adapter_shelf()
    mark = shelf.copy(wish.folder, wish.sha256)
    rank = rank_of(shelf.place(mark), slots)
    refuse_unfit(shelf.place(mark), served_bundle(engine))
    adapter = Adapter(
        name=wish.name,
        sha256=mark,
        bundle=release["bundle"],
        rank=rank,
        tiers=wish.tier or None,
        tenants=wish.tenant or None,
    )
    before = shelf.read().get(adapter.name)
    body = {"lora_name": adapter.served_name, "lora_path": str(shelf.folder(adapter)), "load_inplace": True}
    _post(engine, "/v1/load_lora_adapter", body)
    shelf.put(adapter)
    if before is not None and before.served_name != adapter.served_name:
        _post(engine, "/v1/unload_lora_adapter", {"lora_name": before.served_name}, or_gone=True)
    shelf.sweep()
    return adapter


def served_bundle(engine: httpx.Client) -> Path:
    """Return the folder of the model that the engine serves, as it says itself.

    Raises:
        EngineError: it is away.
    """
    try:
        return Path(engine.get("/v1/models").raise_for_status().json()["data"][0]["root"])
    except (httpx.HTTPError, ValueError, KeyError, IndexError) as error:
        raise EngineError(f"the engine at {engine.base_url} does not answer ({error!r}); start it: make up.") from None


def unload(name: str, engine: httpx.Client) -> Adapter:
    """Offer an adapter no longer, and let the engine forget it; answers that it is writing are finished.

    Raises:
        SettingsError: there is none of that name.
        EngineError: the engine is away; the adapter is offered no longer all the same.
    """
    shelf = adapter_shelf()
    adapter = shelf.take(name)
    _post(engine, "/v1/unload_lora_adapter", {"lora_name": adapter.served_name}, or_gone=True)
    shelf.sweep()
    return adapter


def running_release(chat: httpx.Client) -> dict[str, Any]:
    """Return the release that the running chat service serves.

    Raises:
        EngineError: none runs.
    """
    try:
        return dict(chat.get("/release").raise_for_status().json())
    except (httpx.HTTPError, ValueError) as error:
        raise EngineError(
            f"the chat service at {chat.base_url} does not answer ({error}); start it: make up."
        ) from None


def main() -> None:
    wish, here = _arguments(), f"http://127.0.0.1:{settings().engine_port}"
    if wish.action == "list":
        for one in adapter_shelf().read().values():
            print(f"{one.served_name}  rank {one.rank}  for bundle {one.bundle[:SHORT]}  {_whom(one)}")
        return
    with adapter_shelf().alone(), httpx.Client(base_url=here, timeout=SECONDS, trust_env=False) as engine:
        if wish.action == "unload":
            print(f"Unloaded {unload(wish.name, engine).served_name}.")
            return
        with httpx.Client(base_url=f"http://127.0.0.1:{settings().chat_port}", timeout=30, trust_env=False) as chat:
            adapter = load(wish, running_release(chat), engine)
        print(f"Loaded {adapter.served_name}: ask for the model '{adapter.name}'. {_whom(adapter).capitalize()}.")


def _slots() -> AdapterOptions:
    if (slots := load_options().models.engine.adapters) is None:
        raise SettingsError(
            "the engine has no slots for adapters: set models.engine.adapters in serving.yaml, and deploy."
        )
    return slots


def _post(engine: httpx.Client, path: str, body: dict[str, Any], or_gone: bool = False) -> None:
    try:
        response = engine.post(path, json=body)
    except httpx.HTTPError as error:
        raise EngineError(
            f"the engine at {engine.base_url} does not answer ({error!r}); is the chat running?"
        ) from None
    if response.status_code != 200 and not (or_gone and response.status_code == 404):
        raise EngineError(f"the engine refuses {path}: {response.text[:300]}")


def _arguments() -> Any:
    parser = argparse.ArgumentParser(
        prog="python -m serving.models.adapters", description="LoRA adapters of the engine."
    )
    actions = parser.add_subparsers(dest="action", required=True)
    one = actions.add_parser("load", help="load an adapter, or other files under its name")
    one.add_argument("name", type=_name, help="the model that requests ask for")
    one.add_argument("folder", type=Path, help="adapter_config.json and adapter_model.safetensors, as peft saves them")
    one.add_argument("--sha256", help="refuse any other files than these")
    one.add_argument(
        "--tier", action="append", choices=sorted(load_options().limits.tiers), help="for these tiers alone"
    )
    one.add_argument("--tenant", action="append", type=tenant_name, help="for these tenants alone")
    actions.add_parser("unload", help="let an adapter go").add_argument("name")
    actions.add_parser("list", help="show the adapters on the shelf")
    return parser.parse_args()


def _name(value: str) -> str:
    if not re.fullmatch(NAME, value):
        raise argparse.ArgumentTypeError(f"'{value}' is no name: small letters, digits, '.', '_' and '-', at most 40")
    return value


def _whom(adapter: Adapter) -> str:
    whom = [f"tiers {', '.join(adapter.tiers)}"] if adapter.tiers else []
    whom += [f"tenants {', '.join(adapter.tenants)}"] if adapter.tenants else []
    return f"for {' and '.join(whom)}" if whom else "for everybody"


if __name__ == "__main__":
    from thumbwheel.command import run

    run(main)

"""Adapters on the one base: loaded, chosen, limited, replaced and let go without a restart."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from serving.keys import key_file
from serving.models import adapters
from serving.models.fit import first_misfit
from serving.models.options import AdapterOptions
from serving.models.shelf import CONFIG, WEIGHTS, Adapter, adapter_shelf
from tests.serving.conftest import RELEASE
from tests.serving.models.conftest import Models, models
from thumbwheel.errors import EngineError, ModelError, ReleaseError, SettingsError

SLOTS = AdapterOptions(at_once=2, in_memory=4, rank=16)
SERVED = {"model": RELEASE.model, "bundle": RELEASE.bundle}


@pytest.fixture
def m(tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Models]:
    """A chat whose engine has slots for adapters."""
    monkeypatch.setattr(adapters, "_slots", lambda: SLOTS)
    engine = {"prefix_caching": True, "speculation": None, "adapters": SLOTS.model_dump(), "tools": None}
    (tmp_path / "bundle").mkdir()
    save_file({f"{LAYER}.weight": np.zeros((4, 6), np.int8)}, tmp_path / "bundle" / "model.safetensors")
    with models(tmp_path, {}, engine=engine) as m:
        m.primary.bundle = str(tmp_path / "bundle")
        yield m


LAYER = "model.layers.0.self_attn.q_proj"


def adapter(folder: Path, seed: float = 0.0, wide: int = 6, **config: Any) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / CONFIG).write_text(json.dumps({"peft_type": "LORA", "r": 2, "bias": "none", **config}))
    parts = {"A": np.full((2, wide), seed, np.float32), "B": np.zeros((4, 2), np.float32)}
    named = {f"base_model.model.{LAYER}.lora_{side}.weight": part for side, part in parts.items()}
    save_file(named, folder / WEIGHTS)
    return folder


def load(m: Models, folder: Path, name: str = "pirate", **more: Any) -> Adapter:
    wish = argparse.Namespace(**{"name": name, "folder": folder, "sha256": None, "tier": None, "tenant": None, **more})
    with httpx.Client(base_url=m.primary.url, timeout=60) as engine:
        return adapters.load(wish, SERVED, engine)


def unload(m: Models, name: str) -> None:
    with httpx.Client(base_url=m.primary.url, timeout=60) as engine:
        adapters.unload(name, engine)


def offered(m: Models, **headers: str) -> list[str]:
    names = [one["id"] for one in m.chat.http.get("/v1/models", headers=headers).json()["data"]]
    names.remove(RELEASE.name)
    return names


def test_an_adapter_comes_and_goes_while_the_service_runs(m: Models, tmp_path: Path) -> None:
    assert m.chat.ask(model="pirate").status_code == 404
    one = load(m, adapter(tmp_path / "a"))
    response = m.chat.ask("Ahoy", model="pirate")
    answer = response.json()
    assert answer["choices"][0]["message"]["content"] == f"{one.served_name} says: Ahoy"
    assert answer["model"] == response.headers["X-Model"] == f"thumbwheel-chat/3+{one.served_name}"
    assert offered(m) == ["thumbwheel-chat/3", "pirate"]
    assert m.chat.ask("Ahoy").json()["model"] == "thumbwheel-chat/3"
    unload(m, "pirate")
    assert m.chat.ask("Ahoy", model="pirate").json()["error"]["code"] == "model_not_found"
    assert (offered(m), m.primary.adapters) == (["thumbwheel-chat/3"], {})


def test_an_engine_that_was_started_again_is_given_the_adapter_again(m: Models, tmp_path: Path) -> None:
    one = load(m, adapter(tmp_path / "a"))
    m.primary.adapters.clear()
    assert m.chat.ask(model="pirate").status_code == 200
    assert list(m.primary.adapters) == [one.served_name]


def test_files_that_changed_on_the_shelf_are_never_given_to_an_engine(m: Models, tmp_path: Path) -> None:
    one = load(m, adapter(tmp_path / "a"))
    m.primary.adapters.clear()
    (adapter_shelf().folder(one) / WEIGHTS).write_bytes(b"others")
    response = m.chat.ask(model="pirate")
    assert (response.status_code, response.json()["error"]["code"]) == (503, "engine_unavailable")
    assert m.primary.adapters == {}
    with pytest.raises(ReleaseError, match="put it there again"):
        adapter_shelf().folder(one)
    assert load(m, tmp_path / "a") == one
    assert m.chat.ask(model="pirate").status_code == 200


def test_other_files_than_those_that_were_meant_are_refused(m: Models, tmp_path: Path) -> None:
    mark = load(m, adapter(tmp_path / "a")).sha256
    with pytest.raises(ReleaseError, match="nothing is loaded"):
        load(m, adapter(tmp_path / "b", 1.0), name="other", sha256=mark)
    assert offered(m) == ["thumbwheel-chat/3", "pirate"]
    assert load(m, tmp_path / "a", name="same", sha256=mark).sha256 == mark


def test_other_files_under_a_name_take_its_place_in_the_engine_too(m: Models, tmp_path: Path) -> None:
    first = load(m, adapter(tmp_path / "a"))
    second = load(m, adapter(tmp_path / "b", 1.0))
    assert first.served_name != second.served_name
    assert list(m.primary.adapters) == [second.served_name]
    assert m.chat.ask(model="pirate").json()["model"].endswith(second.served_name)
    kept = {place.name for place in adapter_shelf().folder(second).parent.iterdir() if place.is_dir()}
    assert kept == {second.sha256}


def test_an_adapter_that_the_engine_refuses_is_not_offered(m: Models, tmp_path: Path) -> None:
    m.primary.refuses_adapters = True
    with pytest.raises(EngineError, match="its rank is too high"):
        load(m, adapter(tmp_path / "a"))
    assert offered(m) == ["thumbwheel-chat/3"]


def test_an_adapter_for_some_is_there_for_nobody_else(m: Models, tmp_path: Path) -> None:
    _, key = key_file().add("acme's application", "standard", tenant="acme")
    bearer = {"Authorization": f"Bearer {key}"}
    load(m, adapter(tmp_path / "a"), name="theirs", tenant=["acme"])
    load(m, adapter(tmp_path / "a"), name="service", tier=["service"])
    assert (offered(m), offered(m, **bearer)) == (["thumbwheel-chat/3"], ["thumbwheel-chat/3", "theirs"])
    body = {"model": "theirs", "messages": [{"role": "user", "content": "Hi"}]}
    assert m.chat.ask(model="theirs").status_code == 404
    assert m.chat.http.post("/v1/chat/completions", json=body, headers=bearer).status_code == 200


def test_an_adapter_of_another_bundle_is_offered_no_longer(m: Models, tmp_path: Path) -> None:
    one = load(m, adapter(tmp_path / "a"))
    adapter_shelf().put(one.model_copy(update={"bundle": "c" * 64}))
    assert offered(m) == ["thumbwheel-chat/3"]
    assert m.chat.ask(model="pirate").status_code == 404


def test_no_adapter_has_the_name_of_the_release(m: Models, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="the release itself"):
        load(m, adapter(tmp_path / "a"), name="thumbwheel-chat")


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"r": 32}, "rank 32, more than models.engine.adapters.rank = 16"),
        ({"peft_type": "IA3"}, "no plain LoRA adapter"),
        ({"use_dora": True}, "use_dora"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"bias": "all"}, "bias"),
        ({"r": None}, "cannot be read"),
    ],
)
def test_what_the_engine_could_not_lay_over_its_base_is_refused(
    m: Models, tmp_path: Path, config: dict[str, Any], why: str
) -> None:
    with pytest.raises(ModelError, match=why):
        load(m, adapter(tmp_path / "a", **config))
    assert m.primary.adapters == {}


def test_an_adapter_of_a_narrower_model_is_refused_before_the_engine_takes_it(m: Models, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is 2 by 5, where the layer has 6"):
        load(m, adapter(tmp_path / "a", wide=5))
    assert (m.primary.adapters, offered(m)) == ({}, ["thumbwheel-chat/3"])


@pytest.mark.parametrize(
    ("matrix", "shape", "why"),
    [
        (f"base_model.model.{LAYER}.lora_B.weight", (3, 2), "3 by 2, where the layer has 4"),
        ("base_model.model.model.layers.9.mlp.up_proj.lora_A.weight", (2, 6), r"no layer model\.layers\.9"),
        ("base_model.model.model.embed_tokens.lora_embedding_A", (2, 9), "no matrix of a linear layer"),
        ("base_model.model.packed.lora_B.weight", (9, 2), "where the layer has 8"),
    ],
)
def test_a_matrix_without_its_layer_is_named(matrix: str, shape: tuple[int, int], why: str) -> None:
    base = {f"{LAYER}.weight": (4, 6), "packed.weight_packed": (8, 1)}
    assert first_misfit({"base_model.model.packed.lora_A.weight": (2, 50)}, base) is None
    assert re.search(why, first_misfit({matrix: shape}, base) or "")
    assert first_misfit({}, base) == "the adapter is empty"


def test_a_pickle_is_no_adapter(m: Models, tmp_path: Path) -> None:
    folder = adapter(tmp_path / "a")
    (folder / WEIGHTS).rename(folder / "adapter_model.bin")
    with pytest.raises(ModelError, match=r"no adapter_model\.safetensors"):
        load(m, folder)


def test_without_slots_no_adapter_is_loaded(state: Path) -> None:
    with pytest.raises(SettingsError, match=r"set models\.engine\.adapters"):
        adapters._slots()


def test_a_list_that_is_none_is_named(state: Path) -> None:
    (state / "adapters").mkdir(parents=True)
    (state / "adapters" / "adapters.json").write_text("{")
    with pytest.raises(SettingsError, match=r"adapters\.json is not a list of adapters"):
        adapter_shelf().read()


def test_an_engine_that_is_away_is_named(tmp_path: Path) -> None:
    with httpx.Client(base_url="http://127.0.0.1:9") as nobody:
        with pytest.raises(EngineError, match="start it: make up"):
            adapters.running_release(nobody)
        with pytest.raises(EngineError, match="does not answer"):
            adapters._post(nobody, "/v1/load_lora_adapter", {})


NAMES = st.sampled_from(["a", "b", "c"])


@given(tiers=st.none() | st.lists(NAMES), tenants=st.none() | st.lists(NAMES), tier=NAMES, tenant=st.none() | NAMES)
def test_both_limits_hold_at_once(
    tiers: list[str] | None, tenants: list[str] | None, tier: str, tenant: str | None
) -> None:
    one = Adapter(name="n", sha256="0" * 64, bundle="b", rank=8, tiers=tiers, tenants=tenants)
    assert one.is_for(tier, tenant) == ((tiers is None or tier in tiers) and (tenants is None or tenant in tenants))

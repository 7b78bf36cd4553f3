"""A recipe changes the values that it names, keeps every comment, and says beforehand what it will take."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
import yaml

from stages import recipe
from thumbwheel.errors import ParamsError
from thumbwheel.settings import REPOSITORY

SHIPPED = (REPOSITORY / "params.yaml").read_text()


def comments(text: str) -> list[str]:
    return [line.split("#", 1)[1].strip() for line in text.splitlines() if "#" in line]


@pytest.mark.parametrize("name", recipe.names())
def test_every_recipe_is_accepted_by_the_stages_and_fits_its_own_hardware(name: str) -> None:
    one = recipe.load_recipe(name)
    text = recipe.lay_over(SHIPPED, one.params)
    for section, values in one.params.items():
        changed = yaml.safe_load(text)[section]
        assert all(changed[key] == value for key, value in values.items() if not isinstance(value, dict))
    for stage, job in recipe.jobs(text, one).items():
        assert recipe.estimate(one.model, job).gib < one.hardware.memory_gib, stage


@pytest.mark.parametrize("name", recipe.names())
def test_a_recipe_keeps_every_comment_and_every_section_that_it_does_not_name(name: str) -> None:
    one = recipe.load_recipe(name)
    text = recipe.lay_over(SHIPPED, one.params)
    assert comments(text) == comments(SHIPPED)
    before, after = yaml.safe_load(SHIPPED), yaml.safe_load(text)
    assert {k: v for k, v in before.items() if k not in one.params} == {
        k: v for k, v in after.items() if k not in one.params
    }


def test_the_laptop_recipe_is_what_is_shipped_and_leads_back_from_any_other() -> None:
    laptop = recipe.load_recipe("laptop-135m").params
    assert recipe.lay_over(SHIPPED, laptop) == SHIPPED
    for name in recipe.names():
        other = recipe.lay_over(SHIPPED, recipe.load_recipe(name).params)
        assert yaml.safe_load(recipe.lay_over(other, laptop)) == yaml.safe_load(SHIPPED)


def test_a_key_that_params_yaml_does_not_have_is_named() -> None:
    with pytest.raises(ParamsError, match=r"no key 'sft.lora.rank'"):
        recipe.lay_over(SHIPPED, {"sft": {"lora": {"rank": 8}}})


def test_a_value_that_the_stage_would_refuse_is_refused_before_anything_is_written() -> None:
    with pytest.raises(ParamsError, match=r"save_steps \(25\) must be a multiple of log_steps \(2\)"):
        recipe.lay_over(SHIPPED, {"sft": {"optimiser": {"save_steps": 25}}})


def test_an_unknown_recipe_is_answered_with_the_nearest() -> None:
    with pytest.raises(ParamsError, match="did you mean '8b-lora'"):
        recipe.load_recipe("8b-lra")


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    monkeypatch.setattr(sys, "argv", ["recipe", *words])
    recipe.main()


def test_the_command_prints_the_estimate_and_then_changes_params_yaml(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = workspace / "params.yaml"
    shutil.copyfile(REPOSITORY / "params.yaml", path)
    run(monkeypatch, "8b-lora", "--show")
    assert "together" in capsys.readouterr().out
    assert path.read_text() == SHIPPED
    run(monkeypatch, "8b-lora")
    assert yaml.safe_load(path.read_text())["fetch"]["model"] == "meta-llama/Llama-3.1-8B-Instruct"


def test_a_recipe_that_does_not_fit_its_hardware_changes_nothing(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copyfile(REPOSITORY / "params.yaml", workspace / "params.yaml")
    small = recipe.load_recipe("8b-lora")
    tight = small.model_copy(update={"hardware": small.hardware.model_copy(update={"memory_gib": 20.0})})
    monkeypatch.setattr(recipe, "load_recipe", lambda name: tight)
    with pytest.raises(ParamsError, match=r"sft would take .* of a device that has 20"):
        run(monkeypatch, "8b-lora")
    assert (workspace / "params.yaml").read_text() == SHIPPED

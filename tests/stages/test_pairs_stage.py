"""The stage from the pinned feedback to its tables."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stages.collect import CollectParams, collect
from stages.pairs import PairsParams, main
from thumbwheel.errors import PinError
from thumbwheel.lake import read_pin, read_pinned, write_json
from thumbwheel.params import load_params, read_params
from thumbwheel.settings import settings

REPOSITORY = Path(__file__).parents[2]


SEED = REPOSITORY / "data" / "seed" / "feedback"


@pytest.fixture
def place(workspace: Path) -> Path:
    """A workspace with the parameters of the repository, sampling turned off."""
    text = (REPOSITORY / "params.yaml").read_text().replace("samples: 4 ", "samples: 0 ")
    (workspace / "params.yaml").write_text(text)
    return workspace


def test_the_committed_parameters_load() -> None:
    path = REPOSITORY / "params.yaml"

    assert load_params("pairs", PairsParams, path).minimum_age_hours == 0
    assert load_params("collect", CollectParams, path).files
    assert set(read_params(path)["pairs"]) == set(PairsParams.model_fields)


def test_the_seed_feedback_gives_the_pairs_that_were_planted(place: Path) -> None:
    planted = json.loads((SEED / "PLANTED.json").read_text())
    (place / "data" / "seed").mkdir(parents=True)
    (place / "data" / "seed" / "feedback").symlink_to(SEED)
    pin = collect()
    assert pin is not None
    write_json(settings().inputs / "feedback.json", pin.model_dump())

    main()
    first = read_pin("pairs")
    main()

    assert first == read_pin("pairs")
    assert first.facts["origins"] | {"edit": 0, "regeneration": 0} == dict.fromkeys(first.facts["origins"], 0)
    assert first.facts["origins"]["edit"] == planted["edits"]
    assert first.facts["origins"]["regeneration"] == planted["regenerations"]
    assert first.facts["unpaired"] == {"down": planted["unpaired_downs"], "up": planted["ups"]}
    assert first.rejections["no_consent"] == planted["no_consent"]
    seen = {json.loads(line)["reply"] for line in (SEED / "events.jsonl").read_text().splitlines()}
    assert set(read_pinned("pairs", "preferences")["rejected"].to_pylist()) <= seen


def test_without_any_feedback_the_tables_are_empty(place: Path) -> None:
    nothing = {"table": "feedback", "version": -1, "rows": 0, "fingerprint": ""}
    write_json(settings().inputs / "feedback.json", nothing)

    main()

    assert read_pinned("pairs", "preferences").num_rows == 0
    assert read_pinned("pairs", "unpaired").num_rows == 0


def test_without_the_input_file_the_message_says_how_to_make_it(place: Path) -> None:
    with pytest.raises(PinError, match=r"stages\.observe"):
        main()

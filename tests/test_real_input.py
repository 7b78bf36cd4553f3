from __future__ import annotations

import shutil
from pathlib import Path

import yaml

from benchmarks.real_input import CHANGES, located
from stages.ingest import IngestParams
from stages.observe import apply_overrides
from stages.pose import PoseParams
from tests.conftest import public_or_skip
from thumbwheel.settings import REPOSITORY


def test_real_input_fits_the_parameters(tmp_path: Path) -> None:
    for name in ("chat/dolly_hhrlhf_small", "preferences/hh-rlhf", "judge/mt_bench"):
        public_or_skip(name)
    shutil.copy(REPOSITORY / "params.yaml", tmp_path)

    apply_overrides(tmp_path / "params.yaml", located(yaml.safe_load(CHANGES.read_text())))

    params = yaml.safe_load((tmp_path / "params.yaml").read_text())
    named = [s.uri for s in IngestParams(**params["ingest"]).sources] + [
        s.uri for s in PoseParams(**params["pose"]).sets
    ]
    assert {Path(uri).name for uri in named if uri.startswith("/")} == {
        "dolly_hhrlhf_train_small.jsonl",
        "oasst2_filtered.jsonl",
        "harmless-base_test.jsonl.gz",
        "mt_bench_question.jsonl",
        "Natural.json",
    }
    assert all(Path(uri).is_file() for uri in named if uri.startswith("/"))

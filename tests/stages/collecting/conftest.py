"""A place to collect feedback in, and its outbox."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from thumbwheel.outbox import Outbox
from thumbwheel.settings import settings


@pytest.fixture
def place(workspace: Path) -> Path:
    (workspace / "params.yaml").write_text("collect: {files: []}\n")
    return workspace


@pytest.fixture
def outbox(place: Path) -> Iterator[Outbox]:
    box = Outbox(settings().outbox_path)
    yield box
    box.close()

"""Another release put together beside the service's own, from its Bento in the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from serving.breaker import Breaker
from serving.engine import bundle_folder
from serving.memory.assembly import make_memory
from serving.memory.tokens import load_tokens
from serving.release import RECORD, Release, load_release
from serving.retrieval.assembly import FILE, make_retrieval
from serving.retrieval.pipeline import Retrieval
from serving.upstream import Upstream
from thumbwheel.arms import Arm
from thumbwheel.errors import ReleaseError
from thumbwheel.settings import settings

if TYPE_CHECKING:
    from serving.app import Parts


def make_arm(arm: Arm, living: Sequence[Parts]) -> Parts:
    """Return the parts of an arm; history, sessions, cache, entry and outbox are those of the first of the living.

    Raises:
        ReleaseError: its Bento is not in the store, or holds another bundle, or the arm has no engine.
    """
    own, release = living[0], released(arm)
    if arm.engine is None:
        raise ReleaseError(f"version {arm.version} has no engine, and is not the service's own release.")
    upstream = Upstream(arm.engine, Breaker(own.options.breaker))
    memory = make_memory(
        own.options,
        release,
        own.history,
        upstream,
        settings().state_dir,
        lambda: load_tokens(bundle_folder(release)),
        own.memory.sessions,
    )
    retrieval = _retrieval(release, upstream, living)
    return replace(own, release=release, upstream=upstream, memory=memory, retrieval=retrieval)


def released(arm: Arm) -> Release:
    """Return the release record in an arm's Bento.

    Raises:
        ReleaseError: the Bento is not in the store, or is of another bundle or version.
    """
    release = load_release(sources(arm) / RECORD)
    if (release.version, release.bundle) != (arm.version, arm.bundle):
        raise ReleaseError(f"{arm.bento} holds version {release.version}, not {arm.version}; it answers nobody.")
    return release


def sources(arm: Arm) -> Path:
    """Return where the sources of an arm's Bento lie."""
    return settings().bentoml_home / "bentos" / arm.bento.replace(":", "/") / "src"


def _retrieval(release: Release, upstream: Upstream, living: Sequence[Parts]) -> Retrieval | None:
    """Return what finds an arm's documents: a living arm's where they are the same and no engine helps to find them."""
    options = living[0].options
    if not (options.retrieval.decompose or options.retrieval.hyde):
        for parts in living:
            if parts.retrieval and parts.release.index == release.index:
                return parts.retrieval
    return make_retrieval(options, release, upstream, f"{(release.index or '')[:12]}-{release.version}-{FILE}")

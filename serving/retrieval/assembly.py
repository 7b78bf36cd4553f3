"""Retrieval put together from the options, the release and the environment."""

from __future__ import annotations

from pathlib import Path

from serving.breaker import Breaker
from serving.options import Options, RetrievalOptions
from serving.release import Release
from serving.retrieval.pipeline import Helpers, Retrieval
from serving.retrieval.rerank import configured_reranker
from serving.retrieval.rewrite import asking
from serving.retrieval.store import MilvusStore
from serving.sentences import sentences
from serving.upstream import Upstream
from thumbwheel.knowledge import read_record, refuse_other_index
from thumbwheel.settings import settings

FOLDER = "index"
"""The index's folder inside the BentoML model, beside BentoML's own description of it."""
FILE = "knowledge.db"
"""Milvus Lite's file under the state folder; one holds the index of one release."""


def make_retrieval(options: Options, release: Release, upstream: Upstream, file: str = FILE) -> Retrieval | None:
    """Return what finds documents for a release, while a thread makes it ready.

    None where retrieval is off, or the release has no index.

    Raises:
        IndexDamageError: the index in the store is not the one that was released.
        SettingsError: reranking is on, and the environment names no endpoint.
    """
    wanted = options.retrieval
    if not wanted.enabled or release.index is None:
        return None
    folder = index_folder(release)
    refuse_other_index(folder, release.index)
    helpers = Helpers(
        ask=asking(upstream, release.model) if wanted.decompose or wanted.hyde else None,
        reranker=configured_reranker(wanted.rewrite_seconds) if wanted.rerank else None,
    )
    meanings = sentences(options.sentences, read_record(folder).dtype)
    retrieval = Retrieval(wanted, milvus_store(folder, wanted, file), meanings, Breaker(options.breaker), helpers)
    retrieval.warm()
    return retrieval


def milvus_store(folder: Path, options: RetrievalOptions, file: str = FILE) -> MilvusStore:
    """Return the store of an index in the cluster that the environment names, else in a file under the state folder."""
    place = settings()
    uri = place.milvus_uri or str(place.state_dir / file)
    token = place.milvus_token.get_secret_value() if place.milvus_token else ""
    return MilvusStore(uri, folder, options.candidates, options.rrf, options.seconds, token)


def index_folder(release: Release) -> Path:
    """Return where the release's index lies in the BentoML model store."""
    import bentoml

    return Path(bentoml.models.get(str(release.bento_index)).path) / FOLDER

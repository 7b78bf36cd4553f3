"""The chat service as BentoML serves it, before an engine at a given address: what `benchmarks.serving` measures.

bentoml serve benchmarks.serving_service:Chat        # started by benchmarks.serving
"""

from __future__ import annotations

import os
from pathlib import Path

import bentoml

from serving.app import Parts, create_app
from serving.breaker import Breaker
from serving.cache.semantic import make_cache
from serving.entry import make_entry
from serving.heap import settle
from serving.history import SqliteHistory
from serving.memory.assembly import make_memory
from serving.memory.tokens import load_tokens
from serving.options import load_options
from serving.release import Release
from serving.retrieval import assembly
from serving.retrieval.pipeline import Helpers, Retrieval
from serving.sentences import sentences
from serving.upstream import Upstream
from thumbwheel.knowledge import index_hash, read_record
from thumbwheel.outbox import Outbox
from thumbwheel.settings import settings

ENGINE, BUNDLE, INDEX = (os.environ[f"BENCHMARK_{name}"] for name in ("ENGINE", "BUNDLE", "INDEX"))
RELEASE = Release(
    version=1,
    name="thumbwheel-chat",
    model="model",
    bundle="b" * 64,
    bento_model="none",
    index=index_hash(Path(INDEX)),
    system_prompt="You are Wick, the support assistant of Brindlewick, a maker of smart home gadgets.",
    window=2048,
    max_tokens=256,
    max_streams=512,
    temperature=0.0,
    regenerate_temperature=0.9,
    title="Support",
    assistant="Wick",
    greeting="Hello.",
    suggestions=[],
)


def parts() -> Parts:
    """Return the parts as the service has them, with an index and a tokenizer from where the benchmark says."""
    settle()
    options, state = load_options(), settings().state_dir
    history, upstream = SqliteHistory(state / "history.db"), Upstream(ENGINE, Breaker(options.breaker))
    return Parts(
        release=RELEASE,
        history=history,
        upstream=upstream,
        sink=Outbox(settings().outbox_path),
        options=options,
        entry=make_entry(options, b"key"),
        memory=make_memory(options, RELEASE, history, upstream, state, lambda: load_tokens(Path(BUNDLE))),
        cache=make_cache(options),
        retrieval=_retrieval() if options.retrieval.enabled else None,
    )


def _retrieval() -> Retrieval:
    options, folder = load_options(), Path(INDEX)
    store = assembly.milvus_store(folder, options.retrieval)
    meanings = sentences(options.sentences, read_record(folder).dtype)
    found = Retrieval(options.retrieval, store, meanings, Breaker(options.breaker), Helpers(ask=None, reranker=None))
    found.warm()
    return found


app = create_app(parts)


@bentoml.service(name="Chat", workers=1, traffic={"timeout": 300}, tracing={"excluded_urls": ".*"})
@bentoml.asgi_app(app, path="/")
class Chat:
    """The same application, without the engine that BentoML would start beside it."""

"""The chat service: the orchestrator in front of the engine, and the page.

bentoml serve thumbwheel_chat:TAG        # made by stages.package, started by stages.deploy
"""

from __future__ import annotations

from typing import Any, cast

import bentoml

from serving import metrics
from serving.app import Parts, create_app
from serving.arms.assembly import make_arm
from serving.breaker import Breaker
from serving.cache.semantic import make_cache
from serving.engine import Engine, bundle_folder
from serving.entry import make_entry
from serving.heap import settle
from serving.memory.assembly import make_history, make_memory
from serving.memory.tokens import load_tokens
from serving.options import load_options
from serving.release import load_release
from serving.retrieval.assembly import make_retrieval
from serving.review.desk import make_desk
from serving.trace import make_tracing
from serving.upstream import Upstream
from thumbwheel.outbox import Outbox
from thumbwheel.relay import start_relay
from thumbwheel.secret import secret_key
from thumbwheel.settings import settings


def embedded_parts() -> Parts:
    """Return the parts with their embedded defaults: SQLite history, durable outbox, the engine beside us."""
    state = settings().state_dir
    outbox = Outbox(settings().outbox_path)
    key, options = secret_key(settings().user_key_path), load_options()
    engine = cast(Any, Engine).url or f"http://127.0.0.1:{settings().engine_port}"
    release, history = load_release(), make_history(options, state)
    settle()
    upstream = Upstream(engine, Breaker(options.breaker))
    return Parts(
        release=release,
        history=history,
        upstream=upstream,
        sink=outbox,
        options=options,
        entry=make_entry(options, key),
        memory=make_memory(options, release, history, upstream, state, lambda: load_tokens(bundle_folder(release))),
        cache=make_cache(options),
        on_stop=start_relay(outbox, metrics.DEGRADED.labels("broker").set).stop,
        retrieval=make_retrieval(options, release, upstream),
        desk=make_desk(options, state, outbox, key),
        tracing=make_tracing(release.model),
        make_arm=make_arm,
    )


app = create_app(embedded_parts)


@bentoml.service(
    name="Chat", workers=1, traffic={"timeout": 300}, tracing={"excluded_urls": ".*"}, runner_probe={"enabled": False}
)
@bentoml.asgi_app(app, path="/")
class Chat:
    """OpenAI's chat API with feedback, and a page to chat on."""

    engine = bentoml.depends(Engine)

    async def __is_ready__(self) -> bool:
        """Tell whether an engine answers and we take requests; BentoML's own probe of it may hang, and is off."""
        return not app.state.doors.are_closed and bool(await app.state.pool.is_ready())

    async def __metrics__(self, own: str) -> str:
        """Return the metrics; what is asked of the engines now is in them the next time.

        BentoML's route of that name stands before the application's.
        """
        await app.state.pool.observe()
        return own

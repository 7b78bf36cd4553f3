"""The chat service: the orchestrator in front of the engine, and the page.

bentoml serve thumbwheel_chat:TAG        # made by stages.package, started by stages.deploy
"""

from __future__ import annotations

from typing import Any, cast

import bentoml

from serving.app import Parts, create_app
from serving.breaker import Breaker
from serving.cache.semantic import make_cache
from serving.engine import Engine, bundle_folder
from serving.entry import make_entry
from serving.feedback import user_key
from serving.memory.assembly import make_history, make_memory
from serving.memory.tokens import load_tokens
from serving.options import load_options
from serving.release import load_release
from serving.retrieval.assembly import make_retrieval
from serving.upstream import Upstream
from thumbwheel.outbox import Outbox, start_relay
from thumbwheel.settings import settings


def embedded_parts() -> Parts:
    """Return the parts with their embedded defaults: SQLite history, durable outbox, the engine beside us."""
    state = settings().state_dir
    outbox = Outbox(settings().outbox_path)
    key, options = user_key(state / "user.key"), load_options()
    engine = cast(Any, Engine).url or f"http://127.0.0.1:{settings().engine_port}"
    release, history = load_release(), make_history(options, state)
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
        on_stop=start_relay(outbox).stop,
        retrieval=make_retrieval(options, release, upstream),
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
        """Tell whether the engine answers; BentoML's own probe of it may hang, and is off."""
        return bool(await app.state.parts.upstream.is_ready())

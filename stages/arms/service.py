"""The running chat service as the tasks see it: where it is, by which models it answers, and a question to it."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import time
from pathlib import Path
from typing import Any

import httpx

from thumbwheel.errors import ReleaseError
from thumbwheel.release import Released
from thumbwheel.settings import settings
from thumbwheel.tracking import MODEL

logger = logging.getLogger(__name__)

QUESTION = "What is the Brindle Hub?"
POLL_SECONDS = 0.5
SWITCH_SECONDS = 60
"""How long the running service may take to follow a routing."""


def base_url() -> str:
    """Return the service's address."""
    host = settings().host
    return f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{settings().chat_port}"


def model_name(release: Released) -> str:
    """Return the name under which a release answers."""
    return f"{MODEL}/{release.version}"


def log_path() -> Path:
    """Return the service's log."""
    return settings().state_dir / "logs" / "chat.log"


def service_headers() -> dict[str, str]:
    """Return the credentials by which our tasks ask the service, where the environment has some."""
    key = settings().service_key
    return {"Authorization": f"Bearer {key.get_secret_value()}"} if key else {}


def operator_proof(body: bytes) -> dict[str, str] | None:
    """Return the header by which the service knows who runs it; None where no service has made its key yet."""
    path = settings().user_key_path
    if not path.exists():
        return None
    return {"X-Operator-Proof": hmac.new(path.read_bytes(), body, hashlib.sha256).hexdigest()}


def drain() -> int:
    """Let the running service end the answers under way and take nobody new; return how many it did not end in time.

    One that does not answer, or that cannot drain, is not waited for.
    """
    end = None
    while (told := _drained()) is not None and (left := int(told["answering"])):
        if end is None:
            end = time.monotonic() + float(told["seconds"])
            logger.info("%d answers are being written, which may take %g s", left, told["seconds"])
        if time.monotonic() > end:
            logger.warning("%d answers are cut off: their time is over", left)
            return left
        time.sleep(POLL_SECONDS)
    return 0


def _drained() -> dict[str, Any] | None:
    """Close the service's doors, and return what it says; None where it says nothing of them."""
    body = json.dumps({"drain": True}).encode()
    if (proof := operator_proof(body)) is None:
        return None
    try:
        answer = httpx.post(f"{base_url()}/v1/drain", content=body, headers=proof, timeout=10)
        told: Any = answer.json() if answer.status_code == 200 else None
    except (httpx.HTTPError, ValueError):
        return None
    return told if isinstance(told, dict) and told.get("object") == "drain" else None


def is_ready(release: Released) -> bool:
    """Tell whether the service answers, with its engine, under the release's name."""
    try:
        ready = httpx.get(f"{base_url()}/readyz", timeout=10)
    except httpx.HTTPError:
        return False
    return ready.status_code == 200 and listed()[:1] == [model_name(release)]


def wait_followed(release: Released) -> None:
    """Wait until the running service answers as a release.

    Raises:
        ReleaseError: it does not follow the routing.
    """
    deadline = time.monotonic() + SWITCH_SECONDS
    while not is_ready(release):
        if time.monotonic() > deadline:
            raise ReleaseError(f"the service did not follow the routing in {SWITCH_SECONDS} s; see {log_path()}.")
        time.sleep(POLL_SECONDS)


def wait_listed(model: str) -> None:
    """Wait until the running service answers by a model's name, beside its champion.

    Raises:
        ReleaseError: it does not follow the routing.
    """
    deadline = time.monotonic() + SWITCH_SECONDS
    while model not in listed():
        if time.monotonic() > deadline:
            raise ReleaseError(f"the service did not take {model} in, in {SWITCH_SECONDS} s; see {log_path()}.")
        time.sleep(POLL_SECONDS)


def listed() -> list[str]:
    """Return the models by which the service answers, the champion's first; none where it does not answer."""
    try:
        models = httpx.get(f"{base_url()}/v1/models", headers=service_headers(), timeout=5).json()
        return [str(one["id"]) for one in models["data"]]
    except (httpx.HTTPError, ValueError, LookupError, TypeError):
        return []


def ask(release: Released) -> None:
    """Ask one question through the whole service and check who answers.

    Raises:
        ReleaseError: no answer, an empty one, or one of another version.
    """
    body = {"messages": [{"role": "user", "content": QUESTION}], "max_tokens": 16, "temperature": 0, "user": "deploy"}
    body["model"] = model_name(release)
    try:
        url, headers = f"{base_url()}/v1/chat/completions", service_headers()
        answer: Any = httpx.post(url, json=body, headers=headers, timeout=120).raise_for_status().json()
        text, model = answer["choices"][0]["message"]["content"], answer["model"]
    except (httpx.HTTPError, ValueError, LookupError, TypeError) as error:
        raise ReleaseError(f"the service did not answer a question ({error}); see {log_path()}.") from None
    if not text.strip() or model != model_name(release):
        raise ReleaseError(f"{model} answered {text!r} where {model_name(release)} was expected; see {log_path()}.")

"""What went wrong as a client reads it, in OpenAI's error format, and how requests for answers ended, counted."""

from __future__ import annotations

import logging
import sqlite3

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from serving import metrics
from serving.openai_api import ApiError
from thumbwheel.errors import StoreError

logger = logging.getLogger(__name__)

COUNTED = ("/v1/chat/completions", "/v1/feedback")
NAMES = {404: "not_found", 405: "method_not_allowed"}


def add_handlers(app: FastAPI) -> None:
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(ClientDisconnect, _gone_away)
    app.add_exception_handler(StoreError, _store_away)
    app.add_exception_handler(sqlite3.Error, _store_away)
    app.add_exception_handler(RecursionError, _too_deep)
    app.add_exception_handler(Exception, _fault)


def count(request: Request, status: int) -> None:
    """Count a request for an answer or with feedback; other paths are left out, for anybody may make them up."""
    if request.url.path in COUNTED:
        metrics.REQUESTS.labels(request.url.path, str(status)).inc()


def _refused(request: Request, error: ApiError) -> Response:
    count(request, error.status)
    return JSONResponse(error.body(), error.status, headers=error.headers)


def _api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return _refused(request, error)


def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    told = f"there is no {request.method} {request.url.path} here; answers are given at POST /v1/chat/completions"
    message = told if error.status_code in NAMES else str(error.detail)
    refusal = ApiError(error.status_code, message, NAMES.get(error.status_code, "http_error"))
    return JSONResponse(refusal.body(), error.status_code, error.headers)


def _gone_away(request: Request, error: Exception) -> Response:
    """Answer nobody: a middleware of BentoML's waits for the start of a response, even after the client is gone."""
    count(request, 499)
    return Response(status_code=499)


def _store_away(request: Request, error: Exception) -> Response:
    """Answer a request that cannot do without a store which is away, or whose disk is full."""
    logger.warning("a store is away: %s", error)
    message = "this cannot be looked up right now; try again"
    return _refused(request, ApiError(503, message, "store_unavailable", retry_seconds=5))


def _too_deep(request: Request, error: Exception) -> Response:
    """Refuse what is nested so deeply that it cannot be walked: nothing but a request's own JSON is."""
    logger.warning("a request is nested too deeply")
    return _refused(request, ApiError(400, "the body is nested too deeply", "invalid_value"))


def _fault(request: Request, error: Exception) -> Response:
    return _refused(request, ApiError(500, "something broke on our side", "internal_error"))

"""Every hash by which a user may be known: in sources by the salt of `ingest`, in the chat by its own key.

In the chat a user is the `user` that an application names (alone or on behalf of an API key), an API key, the subject
of a token, or the cookie of a browser. All of these are tried; `jwt:SUBJECT/user:NAME` is taken as it is written.
"""

from __future__ import annotations

import json

from stages.reading.fields import PSEUDONYM
from thumbwheel.params import read_params
from thumbwheel.records import user_hash
from thumbwheel.settings import settings

KINDS = ("user", "key", "jwt", "session")


def hashes_of(user: str) -> frozenset[str]:
    """Return the hashes of a user given by name, by subject, or by one of the hashes themselves."""
    if PSEUDONYM.fullmatch(user):
        return frozenset({user})
    key, salt = settings().user_key_path, source_salt()
    found = {user_hash(subject, key.read_bytes()) for subject in subjects_of(user)} if key.exists() else set()
    return frozenset(found | {user_hash(user, salt)})


def subjects_of(user: str) -> list[str]:
    """Return what the chat's entry may have hashed for a user."""
    named = [f"{kind}:{user}" for kind in KINDS]
    return [user, *named, *(f"key:{key}/user:{user}" for key in _api_keys())]


def _api_keys() -> list[str]:
    path = settings().state_dir / "api_keys.json"
    return [row["id"] for row in json.loads(path.read_text())] if path.exists() else []


def source_salt() -> bytes:
    """Return what `ingest` makes pseudonyms of its sources' users with."""
    return str((read_params(settings().root / "params.yaml").get("ingest") or {}).get("user_salt", "")).encode()

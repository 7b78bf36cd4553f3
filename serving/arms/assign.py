"""Who is answered by which arm: a keyed hash of the user, so that everybody stays where they are. Pure."""

from __future__ import annotations

import hashlib

from thumbwheel.arms import CANARY, CONTROL


def fraction(user: str, salt: str) -> float:
    """Return a user's place in [0, 1) under a salt: uniform over users, and another under another salt."""
    key = hashlib.sha256(salt.encode()).digest()
    drawn = hashlib.blake2b(user.encode("utf-8", "surrogatepass"), key=key, digest_size=8).digest()
    return (int.from_bytes(drawn, "big") >> 11) / 2**53


def assign(user: str, salt: str, share: float) -> str:
    """Return the arm of a user while the canary answers `share` of them.

    A larger share only adds users to the canary's; none of them ever moves back.
    """
    return CANARY if fraction(user, salt) < share else CONTROL


def unit_of(user: str, salt: str) -> str:
    """Return the name under which a user is counted, 16 hex digits; it says nothing under another salt."""
    key = hashlib.sha256(f"unit {salt}".encode()).digest()
    return hashlib.blake2b(user.encode("utf-8", "surrogatepass"), key=key, digest_size=8).hexdigest()

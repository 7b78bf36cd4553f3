"""Assignment by the user's hash: sticky, of the wished share, and never back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from serving.arms.assign import assign, fraction, unit_of
from thumbwheel.arms import CANARY, CONTROL

USERS = st.text(max_size=40)
SHARES = st.floats(0, 1)


@given(USERS, st.text(max_size=20), SHARES)
def test_a_user_is_always_answered_by_the_same_arm(user: str, salt: str, share: float) -> None:
    assert assign(user, salt, share) == assign(user, salt, share)
    assert 0 <= fraction(user, salt) < 1


@given(USERS, st.text(max_size=20), SHARES, SHARES)
def test_a_larger_share_moves_nobody_back(user: str, salt: str, one: float, other: float) -> None:
    low, high = sorted((one, other))
    if assign(user, salt, low) == CANARY:
        assert assign(user, salt, high) == CANARY


@given(USERS, st.text(max_size=20))
def test_no_share_is_nobody_and_the_whole_is_everybody(user: str, salt: str) -> None:
    assert assign(user, salt, 0.0) == CONTROL
    assert assign(user, salt, 1.0) == CANARY


@given(st.text(max_size=20), st.sampled_from([0.05, 0.25, 0.5]))
def test_the_share_of_users_is_what_was_asked_for(salt: str, share: float) -> None:
    users = [f"u-{number:016x}" for number in range(4000)]
    found = sum(assign(user, salt, share) == CANARY for user in users) / len(users)
    assert abs(found - share) < 5 * (share * (1 - share) / len(users)) ** 0.5


def test_another_canary_draws_other_users_and_names_them_otherwise() -> None:
    users = [f"u-{number}" for number in range(2000)]
    both = sum(assign(user, "one", 0.5) == assign(user, "two", 0.5) for user in users)
    assert 850 < both < 1150
    assert unit_of("u-1", "one") != unit_of("u-1", "two")
    assert "u-1" not in unit_of("u-1", "one")

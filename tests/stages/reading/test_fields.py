"""Fields: what a row says of itself means the same whatever container and writer it came through."""

from __future__ import annotations

from typing import Any

import pytest

from stages.reading.fields import has_consent, moment_of, user_of, users_of, word_of
from tests.stages.reading.test_intake import source
from thumbwheel.records import user_hash

SALT = b"salt"


@pytest.mark.parametrize("said", [None, "", " ", float("nan")])
@pytest.mark.parametrize("of_source", [True, False])
def test_an_empty_cell_leaves_consent_to_the_source(said: Any, of_source: bool) -> None:
    assert has_consent({"consent": said}, source(consent=of_source)) is of_source


@pytest.mark.parametrize(
    ("said", "means"),
    [(True, True), (1, True), (1.0, True), (" Yes", True), (0, False), ("no", False), (2, False), ([1], False)],
)
def test_consent_is_given_in_clear_words_alone(said: Any, means: bool) -> None:
    assert has_consent({"consent": said}, source(consent=not means)) is means


@pytest.mark.parametrize(
    "raw", [1_700_000_000, 1.7e9, 1_700_000_000_000, "1700000000", "1700000000000", "2023-11-14T23:13:20+01:00"]
)
def test_a_moment_may_be_counted_in_seconds_or_milliseconds(raw: Any) -> None:
    assert moment_of({"created_at": raw}) == "2023-11-14T22:13:20+00:00"


@pytest.mark.parametrize("raw", ["20231114", "1700", 1e300, "9" * 13 + "." + "9" * 400])
def test_other_digits_are_dates_or_nothing(raw: Any) -> None:
    assert moment_of({"created_at": raw}) in ("2023-11-14T00:00:00+00:00", None, "2286-11-20T17:46:40+00:00")


def test_a_user_that_a_column_with_gaps_has_made_a_fraction_is_the_same_user() -> None:
    assert user_of({"user": 17.0}, SALT) == user_of({"user_id": 17}, SALT) == user_hash("17", SALT)
    assert user_of({"user": 17.5}, SALT) is user_of({"user": 2.0**60}, SALT) is user_of({"user": ""}, SALT) is None
    assert user_of({"user": "", "user_id": "ada"}, SALT) == user_hash("ada", SALT)


def test_a_user_is_found_however_deep_a_record_is_nested() -> None:
    deep: Any = {"user": "ada"}
    for _ in range(20_000):
        deep = {"replies": [deep]}

    assert list(users_of({**deep, "user_id": 5}, SALT)) == [user_hash("5", SALT), user_hash("ada", SALT)]


def test_a_list_of_licences_is_all_of_them() -> None:
    assert word_of({"licence": ["cc-by-nc-4.0", " mit "]}, "licence") == "cc-by-nc-4.0, mit"
    assert word_of({"licence": [], "license": "mit"}, "licence", "license") == "mit"
    assert word_of({"licence": [1]}, "licence") is None

"""Where a request comes from and by what, as far as it is ours to believe."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.access import address, is_https
from tests.serving.conftest import chatting, options_with

CHAT = "/v1/chat/completions"


@given(
    forged=st.lists(st.sampled_from(["1.1.1.1", "evil", ""]), max_size=4),
    ours=st.lists(st.sampled_from(["10.0.0.1", "10.0.0.2"]), min_size=1, max_size=3),
)
def test_what_a_client_writes_into_the_header_never_changes_its_address(forged: list[str], ours: list[str]) -> None:
    header = ", ".join([*forged, "203.0.113.9", *ours[1:]])
    assert address("10.9.9.9", header, len(ours)) == "203.0.113.9"
    assert address("10.9.9.9", header, 0) == "10.9.9.9"
    assert address("10.9.9.9", None, len(ours)) == "10.9.9.9"


@pytest.mark.parametrize(
    ("told", "counted"),
    [
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("203.0.113.9", "203.0.113.9"),
        ("unknown", "unknown"),
    ],
)
def test_a_subscriber_is_one_address_however_many_they_have(told: str, counted: str) -> None:
    assert address(told, None, 0) == counted
    assert address("10.9.9.9", told, 1) == counted


@given(
    forged=st.lists(st.sampled_from(["https", "http", ""]), max_size=3),
    inner=st.lists(st.sampled_from(["https", "http"]), max_size=2),
    outer=st.sampled_from(["https", "http"]),
)
def test_only_what_the_outermost_of_our_proxies_wrote_makes_a_request_https(
    forged: list[str], inner: list[str], outer: str
) -> None:
    header = ", ".join([*forged, outer, *inner])
    assert is_https("http", header, 1 + len(inner)) is (outer == "https")
    assert is_https("https", header, 1 + len(inner)) is True
    assert is_https("http", header, 0) is False
    assert is_https("http", outer, 3) is (outer == "https")  # several proxies, of which one alone writes the header


@pytest.mark.parametrize(("came", "is_secure"), [("https", True), ("http", False)])
def test_a_cookie_given_by_https_goes_no_other_way(tmp_path: Path, came: str, is_secure: bool) -> None:
    with chatting(tmp_path, options_with(access={"proxies": 1})) as chat:
        body = {"messages": [{"role": "user", "content": "Hi"}]}
        cookie = chat.http.post(CHAT, json=body, headers={"X-Forwarded-Proto": came}).headers["Set-Cookie"]
    assert ("; Secure" in cookie) is is_secure

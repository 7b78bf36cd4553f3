"""E-mail and IP addresses, and URLs that carry a password or a token."""

from __future__ import annotations

import ipaddress
import re

from thumbwheel.pii.kinds import Spans
from thumbwheel.pii.rules import Rule, caseless, is_named, matches

LATIN = r"A-Za-z0-9\u00c0-\u024f"
"""Letters of names as people write them; not those of scripts without blanks, where an address has no left edge."""
EMAIL = re.compile(
    rf"(?<![{LATIN}_.%+'-])[{LATIN}_](?:[{LATIN}_.%+'-]{{0,62}}[{LATIN}_%+-])?"
    rf"@(?:[{LATIN}](?:[{LATIN}-]{{0,61}}[{LATIN}])?\.)+(?:xn--[a-z0-9-]{{2,59}}|[A-Za-z\u00c0-\u024f]{{2,24}})(?![{LATIN}_])",
)
URL = re.compile(r"://[^\s<>\"'`]+", re.ASCII)
SCHEME = re.compile(r"\b[a-z][a-z0-9+.-]{1,15}$", re.IGNORECASE | re.ASCII)
"""Looked for backwards from `://`, which `re` finds fast."""
URL_LOGIN = re.compile(r"://[^/?#@\s:]*:[^/?#@\s]+@")
URL_SECRET = re.compile(
    r"[?&#;](?:[\w.-]*[_.-])?(?:token|key|apikey|secret|password|passwd|pwd|pass|sig|signature|auth|session|sessionid|sid|code)"
    r"=[^&#\s{<$][^&#\s]{7,}",
    re.IGNORECASE | re.ASCII,
)
URL_HOOK = re.compile(
    r"://(?:hooks\.slack\.com/(?:services|workflows)/T\w+/\w+|(?:\w+\.)?discord(?:app)?\.com/api/webhooks/\d+"
    r"|api\.telegram\.org/bot\d+:\w|[\w.-]+\.webhook\.office\.com/webhookb2/\w)",
    re.IGNORECASE | re.ASCII,
)
"""Addresses at which whoever knows them may post: the path is the secret."""
IPV4 = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w-]|\.\d)", re.ASCII)
IPV6 = re.compile(r"[0-9A-F:](?<![\w:.].)[0-9A-F:]{2,38}(?![\w:])", re.IGNORECASE | re.ASCII | re.DOTALL)
"""Whatever is written with the letters of an address; `ipaddress` says whether it is one."""
VERSION_WORDS = re.compile(r"(?:\bv|version|firmware|release|build|update)[\s:.]*(?:\w+\s)?$", re.IGNORECASE | re.ASCII)
PRIVATE_NETWORKS = tuple(
    ipaddress.ip_network(n)
    for n in ("0.0.0.0/8", "10.0.0.0/8", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "224.0.0.0/3")
)
"""Addresses that say nothing of anybody: every home router has them."""


def secret_urls(text: str, regions: tuple[str, ...]) -> Spans:
    """Yield URLs with a login, with a parameter named like a secret, or that are a secret as a whole."""
    for match in URL.finditer(text):
        url = match.group().rstrip(".,;:!?)]}")
        if not (URL_LOGIN.search(url) or URL_SECRET.search(url) or URL_HOOK.search(url)):
            continue
        if scheme := SCHEME.search(text, max(0, match.start() - 16), match.start()):
            yield scheme.start(), match.start() + len(url)


def ipv4_addresses(text: str, regions: tuple[str, ...]) -> Spans:
    """Yield public IPv4 addresses; a version number has the word before it."""
    for match in IPV4.finditer(text):
        try:
            address = ipaddress.IPv4Address(match.group())
        except ValueError:
            continue
        private = any(address in net for net in PRIVATE_NETWORKS)
        if not (private or is_named(VERSION_WORDS, text, match.start(), near=40)):
            yield match.span()


def ipv6_addresses(text: str, regions: tuple[str, ...]) -> Spans:
    """Yield IPv6 addresses that belong to one machine; with fewer than three groups it may be a slice such as 1::2."""
    for match in IPV6.finditer(text):
        groups = sum(map(bool, match.group().split(":")))
        try:
            address = ipaddress.IPv6Address(match.group())
        except ValueError:
            continue
        if groups >= 3 and not (address.is_loopback or address.is_unspecified or address.is_multicast):
            yield match.span()


RULES = (
    Rule("url_secret", secret_urls, (rb"://[^\s]*[=@]", caseless(r"://[^\s]*(?:hook|telegram)"))),
    Rule("email", matches(EMAIL), (rb"[A-Za-z0-9_%+\x80-\xff-]@[A-Za-z0-9\x80-\xff]",)),
    Rule("ipv6", ipv6_addresses, (caseless(r"(?:[0-9a-f]{1,4}:){7}"), rb"::[0-9A-Fa-f]", rb"[0-9A-Fa-f]::")),
    Rule("ipv4", ipv4_addresses, (rb"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]",)),
)

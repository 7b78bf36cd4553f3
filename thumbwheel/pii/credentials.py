"""API keys and tokens of common providers, private keys, and whatever is named a key or a password."""

from __future__ import annotations

import re

from thumbwheel.pii.kinds import Spans
from thumbwheel.pii.rules import Rule, caseless

TOKENS = (
    r"(?:AKIA|ASIA)[0-9A-Z]{16}\b",  # Amazon
    r"gh[pousr]_[A-Za-z0-9]{36}",  # GitHub
    r"github_pat_[A-Za-z0-9_]{22}",
    r"gl(?:pat|ptt|dt|rt)-[A-Za-z0-9_-]{20}",  # GitLab
    r"(?:sk|pk|rk)[-_][A-Za-z0-9_-]{20}",  # OpenAI, Anthropic, Stripe
    r"whsec_[A-Za-z0-9+/=]{24}",
    r"xox[abeoprs]-[A-Za-z0-9-]{10}",  # Slack
    r"xapp-[0-9]-[A-Za-z0-9-]{20}",
    r"AIza[A-Za-z0-9_-]{35}",  # Google
    r"ya29\.[A-Za-z0-9_-]{20}",
    r"GOCSPX-[A-Za-z0-9_-]{20}",
    r"hf_[A-Za-z0-9]{30}",  # Hugging Face
    r"(?:gsk|xai|nvapi|pplx|r8)[-_][A-Za-z0-9_-]{32}",  # Groq, xAI, NVIDIA, Perplexity, Replicate
    r"npm_[A-Za-z0-9]{36}",
    r"pypi-AgE[A-Za-z0-9_-]{50}",
    r"do[opr]_v1_[0-9a-f]{64}",  # DigitalOcean
    r"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}",  # Shopify
    r"SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{16}",  # SendGrid
    r"(?:SK|AC)[0-9a-f]{32}\b",  # Twilio
    r"key-[0-9a-f]{32}\b",  # Mailgun
    r"[0-9]{8,10}:AA[A-Za-z0-9_-]{33}",  # Telegram
    r"dapi[0-9a-f]{32}",  # Databricks
    r"AT(?:ATT3|CTT3|BB)[A-Za-z0-9_=-]{24}",  # Atlassian
    r"lin_api_[A-Za-z0-9]{32}",  # Linear
    r"ntn_[A-Za-z0-9]{40}",  # Notion
    r"hv[sbr]\.[A-Za-z0-9_-]{24}",  # Vault
    r"NRAK-[A-Z0-9]{27}",  # New Relic
    r"sntry[su]_[A-Za-z0-9+/=_]{40}",  # Sentry
    r"sq0(?:atp|csp)-[A-Za-z0-9_-]{22}",  # Square
    r"EAA[A-Za-z0-9]{60}",  # Meta
    r"(?:AGE-SECRET-KEY-1)[0-9A-Z]{50}",
    r"eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{10}",  # JSON web token
)
"""How a token of a provider begins; the rest of its letters belong to it."""
TOKEN = re.compile(rf"(?<![A-Za-z0-9_])(?:{'|'.join(TOKENS)})[A-Za-z0-9_=-]*", re.ASCII)
PRIVATE_KEY = re.compile(
    r"-----BEGIN (?:[A-Z0-9]{1,20} ){0,3}PRIVATE KEY(?: BLOCK)?-----.*?"
    r"(?:-----END (?:[A-Z0-9]{1,20} ){0,3}PRIVATE KEY(?: BLOCK)?-----|\Z)",
    re.DOTALL,
)
NAMES = (
    r"(?:api|access|secret|auth|bearer|private|account|client|signing|encryption)[ _-]?(?:key|token|secret)s?"
    r"|secret[ _-]access[ _-]key|authorization|bearer"
)
NAMED_KEY = re.compile(
    rf"(?:\b|_)(?:{NAMES})\b[\s:='\"`]{{1,6}}(?:(?:is|was|bearer|basic) )?['\"`]?([A-Za-z0-9_+/=.~-]{{16,}})",
    re.IGNORECASE | re.ASCII,
)
NAMED_PASSWORD = re.compile(
    r"(?:\b|_)(?:password|passwd|passphrase|pwd)['\"`]?\s{0,3}[:=]\s{0,3}['\"`]?([^\s'\"`,;<>\[\]{}]{8,128})",
    re.IGNORECASE | re.ASCII,
)


def tokens(text: str, regions: tuple[str, ...]) -> Spans:
    """Yield tokens that begin like a known provider's."""
    return (match.span() for match in TOKEN.finditer(text) if _is_mixed(match.group()))


def private_keys(text: str, regions: tuple[str, ...]) -> Spans:
    """Yield private keys in PEM armour, to the end of the text where the end was cut off."""
    return (match.span() for match in PRIVATE_KEY.finditer(text))


def named_keys(text: str, regions: tuple[str, ...]) -> Spans:
    """Yield random-looking values that stand behind a name such as `api key`."""
    for match in NAMED_KEY.finditer(text):
        value = match.group(1).rstrip(".")
        if _is_mixed(value) and len(value) >= 16:
            yield match.start(1), match.start(1) + len(value)


def named_passwords(text: str, regions: tuple[str, ...]) -> Spans:
    """Yield values that are assigned to a password."""
    return (match.span(1) for match in NAMED_PASSWORD.finditer(text) if _is_mixed(match.group(1)))


def _is_mixed(value: str) -> bool:
    """Tell letters-and-digits from a word: a key without a digit or a letter is none."""
    return any(c.isdigit() for c in value) and any(c.isalpha() for c in value)


RULES = (
    Rule("api_key", private_keys, (rb"-----BEGIN [A-Z0-9 ]{0,63}PRIVATE KEY",)),
    Rule("api_key", tokens, tuple(token.encode() for token in TOKENS)),
    Rule("api_key", named_keys, (caseless(NAMES),)),
    Rule("api_key", named_passwords, (caseless(r"(?:password|passwd|passphrase|pwd)['\"`]?\s{0,3}[:=]"),)),
)

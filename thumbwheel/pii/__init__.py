"""Find personal data and secrets in text: patterns, each confirmed by a checksum, a library or the words around it.

Pure: nothing is logged or kept. Used by `stages.scrub` on training data and by the chat service as a guardrail.
"""

from thumbwheel.pii.checksums import base58check, bech32, card, iban, luhn
from thumbwheel.pii.detect import REGIONS, find
from thumbwheel.pii.kinds import KINDS, NAME_KINDS, Finding, Kind
from thumbwheel.pii.pseudonyms import Pseudonyms
from thumbwheel.pii.redact import Mode, Redactor

__all__ = [
    "KINDS",
    "NAME_KINDS",
    "REGIONS",
    "Finding",
    "Kind",
    "Mode",
    "Pseudonyms",
    "Redactor",
    "base58check",
    "bech32",
    "card",
    "find",
    "iban",
    "luhn",
]

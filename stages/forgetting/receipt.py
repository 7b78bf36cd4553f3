"""The receipt of an erasure: what went from where, signed by a key of this installation (Ed25519, RFC 8032).

It names the user by keyed marks alone. Until it is written, a journal keeps what each step erased, so that a run that
was killed and taken up again gives one receipt of both.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.forgetting.found import Found
from thumbwheel.errors import SourceError
from thumbwheel.lake import write_json
from thumbwheel.secret import secret_key
from thumbwheel.settings import settings

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

KEYED = ("receipt", "public_key", "signature")


class Journal:
    """What was erased so far, a line each step, under the state folder."""

    def __init__(self, mark: str) -> None:
        self.path = folder() / f"{mark}.journal"

    def add(self, found: Sequence[Found]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.writelines(f"{json.dumps(one)}\n" for one in found)

    def read(self) -> list[Found]:
        """Return all that was noted; a line that a killed run tore is left out."""
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        return [Found(*json.loads(line)) for line in lines if line.endswith("]")]

    def close(self) -> None:
        self.path.unlink(missing_ok=True)


def folder() -> Path:
    return settings().state_dir / "receipts"


def signed(receipt: Mapping[str, Any]) -> dict[str, Any]:
    """Return a receipt with signature and public key, both in hex."""
    key = _key()
    public = key.public_key().public_bytes_raw().hex()
    return {"receipt": dict(receipt), "public_key": public, "signature": key.sign(canonical(receipt)).hex()}


def write(receipt: Mapping[str, Any], name: str) -> Path:
    """Sign a receipt and write it under the state folder."""
    return write_json(folder() / f"{name}.json", signed(receipt))


def verify(path: Path, public_key: str | None = None) -> bool:
    """Tell whether a receipt is as it was signed, by `public_key` or else by the key of this installation.

    Raises:
        SourceError: the file is no receipt.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        value = json.loads(path.read_text())
        receipt, told, signature = (value[name] for name in KEYED)
        wanted = public_key or public_hex()
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(wanted)).verify(bytes.fromhex(signature), canonical(receipt))
    except InvalidSignature:
        return False
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SourceError(f"{path} is no receipt ({error}); name a file of {folder()}.") from None
    return bool(told == wanted)


def public_hex() -> str:
    """Return the public key by which receipts of this installation are verified, in hex."""
    return _key().public_key().public_bytes_raw().hex()


def canonical(receipt: Mapping[str, Any]) -> bytes:
    """Return the bytes that are signed: JSON with sorted keys and no blanks."""
    return json.dumps(receipt, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def _key() -> Ed25519PrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(secret_key(settings().state_dir / "receipts.key"))

"""Which releases the chat service answers with at once, and who is answered by which (`arms.json`).

Written by the tasks that release, whole or not at all; the running service follows it without a restart.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from thumbwheel.errors import ReleaseError
from thumbwheel.settings import settings

CONTROL = "control"
CANARY = "canary"
"""The two arms: who is answered by the champion, and who by its challenger."""


class Arm(BaseModel):
    """A release that answers. `engine` is the address of an engine of its own, None for that of the service's Bento."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int
    bundle: str
    bento: str
    engine: str | None = None


class Routing(BaseModel):
    """Who answers: the champion, a canary for a share of the users, and the champion before, kept warm."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    champion: Arm
    canary: Arm | None = None
    previous: Arm | None = None
    share: Annotated[float, Field(ge=0, le=1)] = 0.0
    salt: str = ""
    """Names the canary, and draws its users; another canary has another, so that nobody is always among the first."""
    began: str = ""
    """When the canary began, ISO 8601 in UTC."""

    def arms(self) -> tuple[Arm, ...]:
        """Return every arm once."""
        return tuple(dict.fromkeys(filter(None, (self.champion, self.canary, self.previous))))

    def without_canary(self) -> Routing:
        """Return the routing once the canary has ended."""
        return Routing(champion=self.champion, previous=self.previous)


def routing_path() -> Path:
    """Return where the routing is written."""
    return settings().state_dir / "arms.json"


def ledger_path() -> Path:
    """Return where the service notes what the arms of a canary did."""
    return settings().state_dir / "arms.db"


def read_routing(path: Path | None = None) -> Routing | None:
    """Return the routing, or None where there is none: the service's own release then answers alone.

    Raises:
        ReleaseError: the file is damaged.
    """
    path = path or routing_path()
    try:
        return Routing.model_validate_json(path.read_text())
    except FileNotFoundError:
        return None
    except (ValidationError, UnicodeDecodeError):
        raise ReleaseError(f"{path} is damaged; remove it and deploy again: python -m stages.deploy.") from None

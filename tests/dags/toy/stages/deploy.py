"""Deploy nothing, and leave a sign of it."""

from pathlib import Path

Path("deployed").touch()

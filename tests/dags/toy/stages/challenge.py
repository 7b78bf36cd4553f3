"""Name no champion at all."""

from pathlib import Path

path = Path("data/inputs/champion.json")
if not path.exists():
    path.write_text("{}")

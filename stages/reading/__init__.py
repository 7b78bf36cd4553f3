"""How sources become rows: where files lie, how records are cut out of bytes, what a record means, what is mended."""

from pathlib import Path

from stages.vectors.cache import clear_stale

clear_stale(Path(__file__).parent)

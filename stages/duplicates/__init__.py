"""How duplicates are found: words, folding, signatures, clusters, who stays, and the history that is kept."""

from pathlib import Path

from stages.vectors.cache import clear_stale

clear_stale(Path(__file__).parent)

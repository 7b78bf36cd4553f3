"""How duplicates are found: words, folding, signatures, clusters, who stays, and the history that is kept."""

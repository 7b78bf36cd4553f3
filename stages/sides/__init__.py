"""How rows come to their sides: n-grams, sentence vectors, evaluation questions, neighbours, topics."""

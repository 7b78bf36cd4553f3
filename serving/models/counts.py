"""What vLLM counts of its prefix cache and its guesses, read from the text of its metrics."""

from __future__ import annotations

from collections import defaultdict

from prometheus_client.parser import text_string_to_metric_families

COUNTS = {
    "vllm:prefix_cache_queries_total": "prefix_looked_up",
    "vllm:prefix_cache_hits_total": "prefix_found",
    "vllm:spec_decode_num_draft_tokens_total": "guessed",
    "vllm:spec_decode_num_accepted_tokens_total": "accepted",
}


def counts_of(text: str) -> dict[str, float]:
    """Return tokens since the engine's start by what became of them; what it does not count is left out."""
    found: defaultdict[str, float] = defaultdict(float)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name in COUNTS:
                found[COUNTS[sample.name]] += sample.value
    return dict(found)

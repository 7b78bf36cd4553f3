"""Tell harmful and toxic text: a small classifier, and the words that a moderation model is asked and answers in.

Used by the chat service as a guardrail and by the benchmarks as a measure.
"""

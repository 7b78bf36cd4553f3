"""Guardrails of the chat service in three layers: what comes in, what streams out, and what was said."""

"""The chat service: the engine, the orchestrator before it, and the page on it."""

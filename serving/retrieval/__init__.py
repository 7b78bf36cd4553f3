"""Retrieval: from a question to the chunks that may answer it, and from these to a grounded prompt with sources."""

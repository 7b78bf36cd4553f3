"""The semantic cache: answers to questions that were asked before in other words, never across a partition."""

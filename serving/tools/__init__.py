"""Tools: what a request offers of them, calls and their results in a conversation, and calls on their way out."""

"""The models behind the chat: the release's engine, its adapters, fallbacks, and which of them answers."""

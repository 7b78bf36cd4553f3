"""What the chat service remembers: the window, summaries, sessions, profiles and past conversations."""

"""The data card: what is shown, and its pictures."""

"""Forgetting a user: who they are, what they left behind, every place that may hold it, and the receipt."""

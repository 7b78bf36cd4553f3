"""What reviewers' verdicts are called, in events and in the queue that they come from."""

from __future__ import annotations

PREFERS_REPLY, PREFERS_OTHER, TIE, SKIPPED = "prefers_reply", "prefers_other", "tie", "skipped"
"""Reasons of a review: which of two replies is better. Of a reply alone, the first says that it is all right."""
BAD = "bad"
"""Of a reply alone: it is as bad as the user said."""
REPAIRED = "repaired"
"""The review's correction is a reviewer's own."""
MARKS_OTHER = "marks_other"
"""The review's `reply` is the other one, and its spans stand in that."""
SIDES = ("candidate", "champion")
"""Reasons of a comparison, beside `tie` and `skipped`: whose answers are better."""
REPLY, RELEASE = "reply", "release"
"""Kinds of items in the queue: a disliked reply, or two releases' answers to a question."""

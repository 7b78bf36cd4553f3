"""The review queue: disliked replies and answers of releases, judged blind by two reviewers each."""

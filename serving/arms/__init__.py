"""Arms of the chat service: several releases answer at once, and a user stays with theirs."""

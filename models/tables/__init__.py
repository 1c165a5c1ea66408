"""SQLModel rows, one file an aggregate; `rows` holds what they share."""

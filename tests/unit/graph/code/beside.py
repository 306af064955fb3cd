"""A module of an imagined author, beside the file whose functions are refused."""

LIMIT = 5

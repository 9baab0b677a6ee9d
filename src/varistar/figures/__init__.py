"""Every figure, one function each, drawn from tables on disk."""

"""Questions that mean the same."""

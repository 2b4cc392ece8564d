"""Searches explained: which choices mattered, what the best have in common, how far it came, and its confirmation."""

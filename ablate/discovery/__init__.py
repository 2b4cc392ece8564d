"""Discovery of plugins: which components there are, where each comes from, and the hash of its source."""

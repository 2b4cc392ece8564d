"""Components of the kind `target`."""

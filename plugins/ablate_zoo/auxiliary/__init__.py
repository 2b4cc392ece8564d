"""Components of the kind `auxiliary`."""

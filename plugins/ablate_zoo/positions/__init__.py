"""Components of the kind `positions`."""

"""Components of the kind `design`."""

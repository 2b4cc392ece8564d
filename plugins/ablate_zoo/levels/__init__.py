"""Components of the kind `levels`."""

"""Components of the kind `clip`."""

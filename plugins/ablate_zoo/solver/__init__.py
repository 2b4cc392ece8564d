"""Components of the kind `solver`."""

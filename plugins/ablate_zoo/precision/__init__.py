"""Components of the kind `precision`."""

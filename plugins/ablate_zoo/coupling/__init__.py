"""Components of the kind `coupling`."""

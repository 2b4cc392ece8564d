"""Components of the kind `residual`."""

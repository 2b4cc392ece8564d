"""Components of the kind `analysis`."""

"""Components of the kind `weighting`."""

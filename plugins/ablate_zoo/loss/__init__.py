"""Components of the kind `loss`."""

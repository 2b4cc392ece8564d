"""Components of the kind `norm`."""

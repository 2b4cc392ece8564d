"""Components of the kind `features`."""

"""Components of the kind `condition`."""

"""Components of the kind `metric`."""

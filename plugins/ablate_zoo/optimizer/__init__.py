"""Components of the kind `optimizer`."""

"""Components of the kind `precondition`."""

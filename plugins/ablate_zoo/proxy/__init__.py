"""Components of the kind `proxy`."""

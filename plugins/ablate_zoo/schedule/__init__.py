"""Components of the kind `schedule`."""

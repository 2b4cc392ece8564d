"""Plain torch modules that several kinds of component share."""

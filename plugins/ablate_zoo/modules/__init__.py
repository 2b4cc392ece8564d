"""Plain torch modules: they know nothing of configs, and can be lifted out one by one."""

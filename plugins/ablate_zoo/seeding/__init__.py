"""Components of the kind `seeding`."""

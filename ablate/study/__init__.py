"""From a study file to everything that is needed to run it: YAML with lines, schema, lock file, plan."""

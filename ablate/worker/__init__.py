"""What runs in a worker: a trial's job goes in as JSON, its record comes out as JSON."""

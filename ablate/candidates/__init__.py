"""What is tried: a candidate, the space around a base, a trial, and what each costs."""

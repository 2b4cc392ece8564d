"""Typed configurations: a component's fields and slots, and what can be wrong with them."""

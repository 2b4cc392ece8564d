"""The extension points: one file a kind, its abstract base and the types it speaks in."""

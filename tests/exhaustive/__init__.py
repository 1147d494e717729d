"""Elementary functions over every float32: `python -m tests.exhaustive`; nothing here is a test."""

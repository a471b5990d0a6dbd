"""What may watch a run: each a class with `should_run`, `before`, `after` and `failed`."""

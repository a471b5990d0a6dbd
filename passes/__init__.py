"""The built-in passes, one file each: `passes/fold_constants.py` is `fold-constants`."""

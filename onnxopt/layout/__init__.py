"""Permutations of axes: where Transposes stand, and where fewer of them would do."""

"""How often a loop runs, and what it sees in each turn."""

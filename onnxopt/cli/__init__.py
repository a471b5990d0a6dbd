"""The command line: one app, a file per command, no logic of its own."""

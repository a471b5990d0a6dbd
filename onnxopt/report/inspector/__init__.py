"""The inspector: one page that shows the graph before and after every pass."""

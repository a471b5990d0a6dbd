"""Where the elements of a shape come from, and where they go."""

"""What Reshapes, Slices, Concats, Casts and the like do to elements."""

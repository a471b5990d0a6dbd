"""What Qualcomm's HTP refuses, or computes wrong, and how it is said otherwise."""

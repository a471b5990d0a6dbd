"""What the quantizing passes share: encodings, calibrated ranges, observers, and where a target wants its Q/DQ."""

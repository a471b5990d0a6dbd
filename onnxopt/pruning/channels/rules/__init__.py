"""What each operator says of channels, a rule for every operator."""

"""What single rewrites know: the rules that passes are made of, by theme."""

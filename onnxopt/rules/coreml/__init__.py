"""What Core ML's lowering has no operation for, said by others that it has."""

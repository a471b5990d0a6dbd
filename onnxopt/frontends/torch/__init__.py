"""From torch: an exported program, a TorchScript file, or a module and example inputs."""

"""`python -m onnxopt` is the command `onnxopt`."""

from onnxopt.cli.app import main

main()

"""Running models: onnxruntime sessions, generated inputs, comparing outputs, work in a child process.

Import from the modules. Nothing is imported here, so that a child process does not pay for onnxruntime.
"""

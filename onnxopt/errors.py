"""What onnxopt tells a user when something is wrong: one line, and the exit code that goes with it."""


class OnnxoptError(Exception):
    """Base of every error meant for a user. Its text is one line that names the thing and the remedy."""

    exit_code = 2


class BadModel(OnnxoptError):
    """The model file is missing, truncated, not ONNX, or contradicts itself."""


class UnsafePath(BadModel):
    """The model points outside its own folder: an absolute path, `..`, or a symbolic link."""


class BadData(OnnxoptError):
    """The data do not fit the model: a name, a shape, a dtype, an empty set, or NaN."""


class BadPipeline(OnnxoptError):
    """A pipeline text or file cannot be read; the message carries a caret under the place."""


class BadOption(OnnxoptError):
    """A command, pass or backend option is unknown, or its value is not one of its type."""


class CheckFailed(OnnxoptError):
    """The model or the data failed the check that was asked for."""

    exit_code = 1


class PassFailed(OnnxoptError):
    """A pass raised; the message names the pass and the reproducer."""

    exit_code = 3

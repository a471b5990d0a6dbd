"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from onnxopt.errors import OnnxoptError


@contextmanager
def replacing(path: str | Path, *, sync: bool = True) -> Iterator[BinaryIO]:
    """Write a file that takes `path`'s place when the block ends, and leaves it alone when the block fails.

    Where the file system can, the new file has no name until it is complete, so that even SIGKILL leaves nothing
    behind (open(2), O_TMPFILE); elsewhere it has a hidden name beside the target, removed on failure.

    Args:
        path: The file to write. A symbolic link is followed: its target is replaced.
        sync: Bring the bytes to the disk before the name changes, so that a power cut too leaves a whole file.

    Raises:
        OnnxoptError: The folder is missing or read-only, or the disk is full.
    """
    target = Path(os.path.realpath(path))
    hidden = target.parent / f".{target.name}.{secrets.token_hex(4)}.tmp"
    try:
        file, is_nameless = _open(target, hidden)
        try:
            with file:
                yield file
                file.flush()
                if sync:
                    os.fsync(file.fileno())
                if is_nameless:
                    _give_name(file.fileno(), hidden)
            hidden.replace(target)
        except BaseException:
            with suppress(FileNotFoundError):
                hidden.unlink()
            raise
    except OSError as error:
        raise OnnxoptError(f"cannot write {path}: {_reason(error)}; what was there before is unchanged") from error


def _open(target: Path, hidden: Path) -> tuple[BinaryIO, bool]:
    if hasattr(os, "O_TMPFILE") and Path("/proc/self/fd").is_dir():
        try:
            return os.fdopen(os.open(target.parent, os.O_TMPFILE | os.O_RDWR, 0o666), "w+b"), True
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
                raise
    return hidden.open("x+b"), False


def _give_name(descriptor: int, path: Path) -> None:
    folder = os.open(path.parent, os.O_RDONLY)
    try:  # with a folder given, Python calls linkat(2) and follows the link that /proc makes of the descriptor
        os.link(f"/proc/self/fd/{descriptor}", path.name, dst_dir_fd=folder, follow_symlinks=True)
    finally:
        os.close(folder)


def _reason(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return "no room left on the disk"
    if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
        return "the folder is read-only"
    if error.errno == errno.ENOENT:
        return "the folder does not exist"
    return error.strerror or str(error)

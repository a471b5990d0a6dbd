"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from typing import BinaryIO

from onnxopt.errors import OnnxoptError

_BIRTH = 60
"""Seconds within which an empty hidden file counts as one that is about to be locked and written."""


@contextmanager
def replacing(path: str | Path, *, sync: bool = True) -> Iterator[BinaryIO]:
    """Write a file that takes `path`'s place when the block ends, and leaves it alone when the block fails.

    Where the file system can, the new file has no name until it is complete (open(2), O_TMPFILE); elsewhere it has a
    hidden name beside the target. It is removed on failure, and after SIGKILL by whoever writes `path` next. The new
    file has the permissions of the one that it replaces.

    Args:
        path: The file to write. A symbolic link is followed: its target is replaced.
        sync: Bring the bytes to the disk before the name changes, and the name after, so that a power cut too leaves
            a whole file.

    Raises:
        OnnxoptError: The folder is missing or read-only, the disk is full, or `path` is no regular file.
    """
    target = Path(os.path.realpath(path))
    hidden = target.parent / f".{target.name}.{secrets.token_hex(4)}.tmp"
    is_callers = False
    try:
        mode = _mode_of(target, path)
        _remove_abandoned(target)
        file, is_nameless = _open(target, hidden)
        try:
            with file:  # closed, and its lock released, only under its final name
                with suppress(OSError):  # no locks on this file system: then nobody removes it either
                    flock(file, LOCK_EX)
                is_callers = True
                yield file
                is_callers = False
                _complete(file, mode, sync)
                if is_nameless:
                    _give_name(file.fileno(), hidden)
                hidden.replace(target)
        except BaseException:
            with suppress(FileNotFoundError):
                hidden.unlink()
            raise
        if sync:
            _sync_folder(target.parent)
    except OSError as error:
        if is_callers and error.filename is not None:  # the block failed at a file of its own
            raise
        raise OnnxoptError(f"cannot write {path}: {_reason(error)}; what was there before is unchanged") from error


def _mode_of(target: Path, path: str | Path) -> int | None:
    """The permissions of the file that is there; None where there is none. A device must not be replaced by a file."""
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(mode):
        raise OnnxoptError(f"cannot write {path}: it is no regular file, and stays as it is")
    return stat.S_IMODE(mode)


def _remove_abandoned(target: Path) -> None:
    """Remove what killed processes left of earlier tries: hidden files of this target that nobody holds a lock on."""
    for left in target.parent.glob(f".{_literal(target.name)}.*.tmp"):
        with suppress(OSError), left.open("rb") as file:
            flock(file, LOCK_EX | LOCK_NB)
            status = os.fstat(file.fileno())
            if status.st_size or time.time() - status.st_mtime > _BIRTH:
                left.unlink()


def _literal(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def _open(target: Path, hidden: Path) -> tuple[BinaryIO, bool]:
    if hasattr(os, "O_TMPFILE") and Path("/proc/self/fd").is_dir():
        try:
            return os.fdopen(os.open(target.parent, os.O_TMPFILE | os.O_RDWR, 0o666), "w+b"), True
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
                raise
    return hidden.open("x+b"), False


def _complete(file: BinaryIO, mode: int | None, sync: bool) -> None:
    file.flush()
    if mode is not None:
        with suppress(OSError):  # a file system without permissions
            os.fchmod(file.fileno(), mode)
    if sync:
        os.fsync(file.fileno())


def _give_name(descriptor: int, path: Path) -> None:
    folder = os.open(path.parent, os.O_RDONLY)
    try:  # with a folder given, Python calls linkat(2) and follows the link that /proc makes of the descriptor
        os.link(f"/proc/self/fd/{descriptor}", path.name, dst_dir_fd=folder, follow_symlinks=True)
    finally:
        os.close(folder)


def _sync_folder(folder: Path) -> None:
    with suppress(OSError):  # without it, a power cut may bring the old file back, whole as it was
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _reason(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "no room left on the disk"
    if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
        return "the folder is read-only"
    if error.errno == errno.ENOENT:
        return "the folder does not exist"
    return error.strerror or str(error)

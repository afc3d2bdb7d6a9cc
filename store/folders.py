"""Whole folders on disk: written aside, swapped in, and never in place of what somebody else made.

A folder that a command makes (a bundle, a report) is filled as DEST.unfinished-<pid> beside its
destination, synced, and exchanged with what is there in one step.  Whatever happens before that step (a
kill, a full disk, an error) leaves the old folder whole; whatever happens after it leaves the new one.
"""

# Plain os calls, so that a test can count and fail each one.
# ruff: noqa: PTH102, PTH104, PTH106, PTH108, PTH114, PTH118, PTH208

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from pathlib import Path

from mmmos.store import files

UNFINISHED = ".unfinished-"
"""What stands between a folder's name and its writer's process number."""
NO_EXCHANGE = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)
"""How a system or a file system says that it cannot exchange two names."""
NAMED = 5
"""So many of the foreign files are named in a refusal; the rest are counted."""


@contextmanager
def replacing(folder: Path, *, keep: bool = False) -> Iterator[Path]:
    """A new folder to fill, which takes the place of `folder` in one step if the block ends well.

    Ask `refuse_foreign` first: what was in `folder` is gone afterwards.  An error, a kill or a full disk
    leaves `folder` as it was.  What killed writers left beside it is removed on the way.

    Parameters
    ----------
    folder
        Need not exist; a link to a folder is followed.
    keep
        Start with a copy of what is in `folder`, to add to it or to change a part.

    Yields
    ------
    Path
        `folder`.unfinished-<pid>, empty (or the copy).  Files in it may be written in any way; they are
        synced here.

    Raises
    ------
    ValueError
        Where another writer in this process is at the same folder, or `folder` cannot be replaced
        because it is a mount point.
    OSError
        Where the file system says so.
    """
    folder = Path(os.path.realpath(folder))
    files.make_folder(folder.parent)
    sweep_unfinished(folder)
    aside = folder.with_name(f"{folder.name}{UNFINISHED}{os.getpid()}")
    try:
        os.mkdir(aside)
    except FileExistsError:
        raise ValueError(f"{aside} is being written: wait until that is done") from None
    fd = os.open(aside, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # without locks, what a kill leaves stays until a person removes it
            fcntl.flock(fd, fcntl.LOCK_EX)
        if keep and folder.is_dir():
            shutil.copytree(folder, aside, symlinks=True, dirs_exist_ok=True)
        yield aside
        _sync_tree(aside)
        _swap(aside, folder)
        files.sync_folder(folder.parent)
    finally:
        # After the swap this is the old folder, before it the unfinished one.  It may stay behind (the
        # disk fails again): the next writer removes it.
        with suppress(OSError):
            remove_tree(aside)
        os.close(fd)


def refuse_foreign(folder: Path, is_ours: Callable[[Path], bool], known: Sequence[str], what: str) -> None:
    """ValueError where a command that writes `folder` anew would remove or change what it did not make.

    A folder that does not exist or is empty passes.  One that holds something passes where `is_ours`
    recognises it and every file in it is a `known` one; otherwise the message names what is there.

    Parameters
    ----------
    is_ours
        Whether a folder is of the kind that is to be written: reads its JSON, say.  Errors count as no.
    known
        Patterns of the files that this kind has, relative and with "/": "heads/*.safetensors".
    what
        The kind, for the message: "bundle".
    """
    folder = Path(folder)
    if not os.path.lexists(folder):
        return
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder: nothing is written over it; name another place")
    inside = sorted(_entries(folder))
    if not inside:
        return
    foreign = [name for name in inside if not any(fnmatchcase(name, pattern) for pattern in known)]
    if not foreign:
        with suppress(OSError, ValueError, TypeError, KeyError, RecursionError):
            if is_ours(folder):
                return
        foreign = inside
    more = f" and {len(foreign) - NAMED} more" if len(foreign) > NAMED else ""
    raise ValueError(
        f"{folder} holds {', '.join(foreign[:NAMED])}{more}, which no {what} of MMMOS has: nothing is "
        f"removed or written over; name a new folder, or move these away"
    )


def refuse_foreign_file(path: Path, marks: Sequence[str], what: str) -> None:
    """ValueError where `path` is there, is not empty, and is no file of the kind that is to be written.

    Parameters
    ----------
    marks
        Texts of which one stands in the first or last 4,096 bytes of every file of this kind: a CSV's
        header, a page's title, the word that a checksum begins with.
    what
        The kind, for the message: "table of scores".
    """
    path = Path(path)
    if not os.path.lexists(path):
        return
    try:
        ends = files.ends(path, 4096)
    except ValueError as reason:
        raise ValueError(f"{reason}: nothing is written over it; name another file") from None
    if ends and not any(mark.encode() in ends for mark in marks):
        raise ValueError(
            f"{path} is there and is no {what} of MMMOS: nothing is written over it; move it away, or name "
            "another place"
        )


def sweep_unfinished(folder: Path) -> list[Path]:
    """Remove what killed writers of `folder` left beside it; one that is still being written stays."""
    pattern = re.compile(re.escape(folder.name + UNFINISHED) + "[0-9]+")
    removed = []
    for name in sorted(files.listing(folder.parent)):
        aside = folder.parent / name
        if pattern.fullmatch(name) and not aside.is_symlink() and aside.is_dir() and not _held(aside):
            with suppress(OSError):
                remove_tree(aside)
                removed.append(aside)
    return removed


def remove_tree(folder: Path) -> None:
    """Remove a folder and all in it; links are removed, not followed; harmless when it is gone."""
    for path, below, names in os.walk(folder, topdown=False):
        for name in names:
            os.unlink(os.path.join(path, name))
        for name in below:
            inner = os.path.join(path, name)
            (os.unlink if os.path.islink(inner) else os.rmdir)(inner)
    with suppress(FileNotFoundError):
        os.rmdir(folder)


def _held(folder: Path) -> bool:
    """Whether a living writer has a folder's lock; also where that cannot be told."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(fd)
    return False


def _entries(folder: Path) -> Iterator[str]:
    """Everything below a folder but folders that hold something, relative, with "/"; links not followed."""
    for path, below, names in os.walk(folder):
        inner = Path(path).relative_to(folder).as_posix()
        prefix = "" if inner == "." else f"{inner}/"
        links = [name for name in below if os.path.islink(os.path.join(path, name))]
        yield from (prefix + name for name in (*names, *links))
        if prefix and not names and not below:
            yield prefix


def _sync_tree(folder: Path) -> None:
    for path, _, names in os.walk(folder, topdown=False):
        for name in names:
            with suppress(ValueError):  # a link has no contents of its own
                fd = files.open_regular(Path(path, name))
                try:
                    os.fsync(fd)
                finally:
                    os.close(fd)
        files.sync_folder(Path(path))


def _swap(new: Path, old: Path) -> None:
    """Give `new` the name `old`, and where something has that name, that the name of `new`."""
    try:
        if not old.exists() or not os.listdir(old):
            os.rename(new, old)  # one step: an empty folder is replaced
        elif not _exchange(new, old):
            # No exchange on this system: for the moment between two renames the old folder, whole, has
            # a name of its own.
            before = old.with_name(f"{old.name}.before-{os.getpid()}")
            os.rename(old, before)
            try:
                os.rename(new, old)
            except OSError:
                os.rename(before, old)
                raise
            os.rename(before, new)
    except OSError as refused:
        if refused.errno in (errno.EBUSY, errno.EXDEV):
            raise ValueError(f"{old} is a mount point and cannot be replaced: name a folder in it") from None
        raise


def _exchange(one: Path, other: Path) -> bool:
    """Exchange the names of two folders in one step; False where the system cannot."""
    library = ctypes.CDLL(None, use_errno=True)
    here, first, second = -100, os.fsencode(one), os.fsencode(other)  # -100: AT_FDCWD
    if sys.platform == "linux" and hasattr(library, "renameat2"):
        status = library.renameat2(here, first, here, second, 2)  # RENAME_EXCHANGE
    elif sys.platform == "darwin" and hasattr(library, "renamex_np"):
        status = library.renamex_np(first, second, 2)  # RENAME_SWAP
    else:
        return False
    if status == 0:
        return True
    number = ctypes.get_errno()
    if number in NO_EXCHANGE:
        return False
    raise OSError(number, os.strerror(number), os.fspath(other))

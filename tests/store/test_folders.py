"""Whole folders: the old one or the new one, whatever happens, and nothing of anybody else's touched."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mmmos.store import files, folders

KNOWN = ("bundle.json", "README.md", "heads/*.safetensors")
CALLS = ("open", "close", "write", "fsync", "rename", "mkdir", "unlink", "rmdir", "scandir")


def is_ours(folder: Path) -> bool:
    return files.read_bytes(folder / "bundle.json").startswith(b"ours")


def make(folder: Path, text: str) -> None:
    with folders.replacing(folder) as new:
        files.write_text(new / "bundle.json", f"ours {text}")
        files.write_text(new / "heads" / f"{text}.safetensors", text)


def contents(folder: Path) -> dict[str, str]:
    return {p.relative_to(folder).as_posix(): p.read_text() for p in folder.rglob("*") if p.is_file()}


OLD = {"bundle.json": "ours old", "heads/old.safetensors": "old"}
NEW = {"bundle.json": "ours new", "heads/new.safetensors": "new"}


def test_a_folder_is_made_and_replaced_whole(tmp_path: Path) -> None:
    make(tmp_path / "deep" / "b", "old")
    assert contents(tmp_path / "deep" / "b") == OLD
    make(tmp_path / "deep" / "b", "new")
    assert contents(tmp_path / "deep" / "b") == NEW
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["b"]


def test_an_empty_folder_is_filled_and_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    make(tmp_path / "link", "old")
    make(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert contents(tmp_path / "real") == NEW


def test_without_an_exchange_of_names_the_end_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "_exchange", lambda *_: False)
    make(tmp_path / "b", "old")
    make(tmp_path / "b", "new")
    assert contents(tmp_path / "b") == NEW
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_a_block_that_fails_leaves_the_old_folder(tmp_path: Path) -> None:
    make(tmp_path / "b", "old")

    def interrupted() -> None:
        with folders.replacing(tmp_path / "b") as new:
            files.write_text(new / "bundle.json", "half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert contents(tmp_path / "b") == OLD
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_what_is_kept_is_a_copy(tmp_path: Path) -> None:
    make(tmp_path / "b", "old")
    with folders.replacing(tmp_path / "b", keep=True) as new:
        files.write_text(new / "README.md", "card")
        assert contents(tmp_path / "b") == OLD
    assert contents(tmp_path / "b") == OLD | {"README.md": "card"}


class FailingOs:
    """`os`, whose n-th call of CALLS fails or kills."""

    def __init__(self, at: int, what: int) -> None:
        self.count, self.at, self.what = 0, at, what

    def __getattr__(self, name: str) -> object:
        real = getattr(os, name)
        if name not in CALLS:
            return real

        def call(*args: object, **kwargs: object) -> object:
            self.count += 1
            if self.count == self.at:
                if self.what == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                raise OSError(self.what, "injected")
            return real(*args, **kwargs)

        return call


@contextmanager
def failing(at: int, what: int) -> Iterator[FailingOs]:
    faulty = FailingOs(at, what)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "os", faulty)
        patch.setattr(folders, "os", faulty)
        yield faulty


def make_failing(folder: Path, at: int, what: int) -> None:
    with failing(at, what):
        make(folder, "new")


def test_every_call_that_fails_leaves_the_old_or_the_new_folder(tmp_path: Path) -> None:
    make(tmp_path / "b", "old")
    with failing(0, 0) as counting:
        make(tmp_path / "b", "new")
    assert counting.count > 20
    for at in range(1, counting.count + 1):
        make(tmp_path / "b", "old")
        try:
            make_failing(tmp_path / "b", at, errno.ENOSPC)
        except OSError:
            assert contents(tmp_path / "b") in (OLD, NEW)
        else:
            assert contents(tmp_path / "b") == NEW


def test_every_kill_leaves_the_old_or_the_new_folder_and_the_next_writer_cleans_up(tmp_path: Path) -> None:
    make(tmp_path / "b", "old")
    with failing(0, 0) as counting:
        make(tmp_path / "b", "new")
    children = multiprocessing.get_context("fork")
    seen = []
    for at in range(1, counting.count + 1):
        make(tmp_path / "b", "old")
        child = children.Process(target=make_failing, args=(tmp_path / "b", at, 0))
        child.start()
        child.join()
        assert child.exitcode == -signal.SIGKILL
        seen.append(contents(tmp_path / "b"))
        assert seen[-1] in (OLD, NEW)
    assert {str(one) for one in seen} == {str(OLD), str(NEW)}
    make(tmp_path / "b", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_a_folder_that_is_being_written_stays(tmp_path: Path) -> None:
    with folders.replacing(tmp_path / "b") as new:
        assert folders.sweep_unfinished(tmp_path / "b") == []
        assert new.is_dir()
        with pytest.raises(ValueError, match="is being written"):
            make(tmp_path / "b", "new")
    other = tmp_path / "b.unfinished-notes"
    other.mkdir()
    assert folders.sweep_unfinished(tmp_path / "b") == []


def test_foreign_files_are_named_and_stay(tmp_path: Path) -> None:
    def refuse(folder: Path) -> None:
        folders.refuse_foreign(folder, is_ours, KNOWN, "bundle")

    refuse(tmp_path / "absent")
    refuse(tmp_path)
    make(tmp_path / "b", "old")
    refuse(tmp_path / "b")
    for foreign in ("notes.txt", "heads/readme.md", "deeper/heads/a.safetensors", "empty/", "link"):
        make(tmp_path / "b", "old")
        path = tmp_path / "b" / foreign
        if foreign == "link":
            path.symlink_to(tmp_path)
        elif foreign.endswith("/"):
            path.mkdir()
        else:
            files.write_text(path, "mine")
        with pytest.raises(ValueError, match=f"holds {foreign}, which no bundle of MMMOS has"):
            refuse(tmp_path / "b")
        folders.remove_tree(tmp_path / "b")
    files.write_text(tmp_path / "webpack" / "bundle.json", "{}")
    with pytest.raises(ValueError, match=r"holds bundle\.json, which"):
        refuse(tmp_path / "webpack")
    with pytest.raises(ValueError, match="is not a folder"):
        refuse(tmp_path / "webpack" / "bundle.json")


def test_foreign_files_are_not_written_over(tmp_path: Path) -> None:
    def refuse(path: Path) -> None:
        folders.refuse_foreign_file(path, ["id,PQ"], "table of scores")

    refuse(tmp_path / "absent.csv")
    (tmp_path / "empty.csv").touch()
    refuse(tmp_path / "empty.csv")
    (tmp_path / "ours.csv").write_text("id,PQ\na,1\n")
    refuse(tmp_path / "ours.csv")
    (tmp_path / "theirs.csv").write_text("a thesis")
    with pytest.raises(ValueError, match=r"theirs.csv is there and is no table of scores"):
        refuse(tmp_path / "theirs.csv")
    for path in (tmp_path, tmp_path / "fifo", tmp_path / "link"):
        if path.name == "fifo":
            os.mkfifo(path)
        if path.name == "link":
            path.symlink_to("ours.csv")
        with pytest.raises(ValueError, match="nothing is written over it; name another file"):
            refuse(path)


def test_a_tree_is_removed_without_following_links(tmp_path: Path) -> None:
    files.write_text(tmp_path / "kept" / "x", "x")
    files.write_text(tmp_path / "gone" / "deep" / "x", "x")
    (tmp_path / "gone" / "link").symlink_to(tmp_path / "kept")
    folders.remove_tree(tmp_path / "gone")
    folders.remove_tree(tmp_path / "gone")
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert (tmp_path / "kept" / "x").exists()

"""Reading weight files: tensors by name, whether they fit a network, and the hash that identifies them."""

from __future__ import annotations

import errno
import hashlib
import pickle
import random
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from mmmos.store.names import canonical_json

MAX_COMPLAINTS = 8


class WeightsMissing(RuntimeError):  # noqa: N818
    """Pretrained weights were not found; the message says which file to put where."""


class WeightsMismatch(ValueError):  # noqa: N818
    """A file is not weights, or not those of this network; the message says why."""


def file_sha256(path: Path) -> str:
    """Hex sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_state(path: Path) -> dict[str, Tensor]:
    """Tensors by name, from a safetensors or a torch file (no code in it is run).

    The wrappers {"model": ...} and {"state_dict": ...} of training code are removed.

    Raises
    ------
    WeightsMismatch
        Where the file holds anything else: the message names the file and the reason in one line.
    """
    if path.suffix == ".safetensors":
        with readable(path):
            return load_file(path)
    content = read_torch(path)
    for wrapping in ("model", "state_dict"):
        if isinstance(content, Mapping) and isinstance(content.get(wrapping), Mapping):
            content = content[wrapping]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise WeightsMismatch(f"{path} does not hold a table of tensors")
    return dict(content)


def read_torch(path: Path, *, mapped: bool = False) -> Any:
    """What a torch file holds; `mapped` leaves the tensors' values on disk.  Raises as `read_state`."""
    with readable(path):
        with path.open("rb") as file:
            if file.read(1) not in (b"P", b"\x80"):  # a zip or a pickle: other text may be read for minutes
                raise ValueError("no torch file begins so")
        try:
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
        except RuntimeError as error:
            if not mapped or "mmap" not in str(error):
                raise
            return torch.load(path, map_location="cpu", weights_only=True)  # the old format cannot be mapped


def read_names(path: Path) -> list[str]:
    """Names of the tensors in a weight file, without reading the tensors.  Raises as `read_state`."""
    if path.suffix == ".safetensors":
        with readable(path), safe_open(path, framework="pt") as file:
            return list(file.keys())
    content = read_torch(path, mapped=True)
    for wrapping in ("model", "state_dict"):
        if isinstance(content, Mapping) and isinstance(content.get(wrapping), Mapping):
            content = content[wrapping]
    return [str(name) for name in content] if isinstance(content, Mapping) else []


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn the errors of the reading libraries into one WeightsMismatch with the likely cause."""
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise WeightsMismatch(f"{path} is not a regular file")
    try:
        yield
    except FileNotFoundError:
        raise WeightsMissing(f"{path} does not exist") from None
    except MemoryError:
        raise
    except Exception as error:  # torch's reader ends in any of Python's errors, by what the bytes say
        raise WeightsMismatch(f"{path} cannot be read as weights: {_reason(path, error)}") from error


def _reason(path: Path, error: Exception) -> str:
    if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):  # EINVAL: torch, of any bytes
        return f"{error.strerror}"
    with path.open("rb") as file:
        head = file.read(512)
    if not head:
        return "it is empty"
    if head.startswith(b"version https://git-lfs"):
        return "it is a pointer of Git LFS, not the file itself; fetch that with `git lfs pull`"
    if head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return "it is a web page (a download that was answered with an error page?)"
    if isinstance(error, pickle.UnpicklingError) and "eights" in str(error):
        return "it holds more than tensors (code, or objects of other packages), which is never run"
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return f"it is truncated, damaged or of another format ({lines[0][:120]})"


def rename(state: Mapping[str, Tensor], replacements: Iterable[tuple[str, str]]) -> dict[str, Tensor]:
    """Names with each (old, new) piece of text replaced, in the order given."""
    renamed: dict[str, Tensor] = {}
    for name, tensor in state.items():
        for old, new in replacements:
            name = name.replace(old, new)
        renamed[name] = tensor
    return renamed


def matters(name: str, unused: tuple[str, ...]) -> bool:
    """Whether features can depend on a tensor: not one of `unused` prefixes, and no counter of batches."""
    return not name.startswith(unused) and not name.endswith("num_batches_tracked")


def network_sha256(
    state: Mapping[str, Tensor], unused: tuple[str, ...] = (), constants: Mapping[str, Any] | None = None
) -> str:
    """Hash of all that a network's output depends on, whatever file and container it came from.

    Parameters
    ----------
    state : mapping of str to Tensor
        Tensors by their published names, never by those of a library, which change with its version.
    unused : tuple of str
        Prefixes of names that make no difference.
    constants : mapping, optional
        What else the network calculates with, as JSON values (front-end statistics, number of heads).

    Returns
    -------
    str
        Hex sha256 over the constants and over name, shape and float32 values of each tensor.
    """
    digest = hashlib.sha256(canonical_json(dict(constants or {})).encode())
    for name in sorted(state):
        if matters(name, unused):
            values = state[name].detach().to(torch.float32).contiguous()
            digest.update(f"\n{name} {list(values.shape)}\n".encode())
            digest.update(values.numpy().data if values.numel() else b"")
    return digest.hexdigest()


def fill(
    network: nn.Module, state: Mapping[str, Tensor], unused: tuple[str, ...], name: str, path: Path
) -> None:
    """Copy every tensor of `state` into the network.

    Raises
    ------
    WeightsMismatch
        Where tensors are missing, surplus (but for `unused` prefixes), of another shape or not finite.
    """
    expected = network.state_dict()
    complaints = [f"missing {key}" for key in expected if key not in state and matters(key, unused)]
    complaints += [f"surplus {key}" for key in state if key not in expected and matters(key, unused)]
    complaints += [
        f"{key} is {list(tensor.shape)}, expected {list(expected[key].shape)}"
        for key, tensor in state.items()
        if key in expected and tensor.shape != expected[key].shape and matters(key, unused)
    ]
    complaints += [
        f"{key} holds values that are not finite"
        for key, tensor in state.items()
        if matters(key, unused) and tensor.is_floating_point() and not torch.isfinite(tensor).all()
    ]
    if complaints:
        more = len(complaints) - MAX_COMPLAINTS
        listed = "; ".join(complaints[:MAX_COMPLAINTS]) + (f" and {more} more" if more > 0 else "")
        raise WeightsMismatch(f"{path} is not {name}: {listed}")
    fitting = {k: v for k, v in state.items() if k in expected and v.shape == expected[k].shape}
    network.load_state_dict(fitting, strict=False)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Networks built inside start from `seed`; the global random generators are left as they were."""
    python_state = random.getstate()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
    random.setstate(python_state)

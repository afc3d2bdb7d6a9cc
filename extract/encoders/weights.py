"""Finding, reading and checking the published weight files.

A folder given by the user is laid out as

    DIR/wavlm/pytorch_model.bin            or the files of one encoder directly in DIR,
    DIR/muq/model.safetensors, config.json or one file, given by its own path
    DIR/m2d/<the published folder>/*.pth

What the folder lacks is looked for in the hub, or in its local cache when HF_HUB_OFFLINE is set.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import HfApi, hf_hub_download, try_to_load_from_cache
from safetensors.torch import load_file
from torch import Tensor, nn

HUB_TIMEOUT_S = 10.0


class WeightsMissing(RuntimeError):  # noqa: N818
    """Pretrained weights were not found; the message says which file to put where."""


class WeightsMismatch(ValueError):  # noqa: N818
    """A weight file does not belong to this network; the message names the keys."""


@dataclass(frozen=True)
class Published:
    """A published checkpoint: its public name and where its files are.

    name:    hub id, or the name of the published folder; recorded in the spec.
    folder:  folder of this encoder below the user's weights folder.
    files:   file names in order of preference; patterns of pathlib.Path.glob.
    hub:     whether `name` is a hub id that can be downloaded.
    wanted:  the same in words, for a person who has to put them there.
    source:  where that person finds them.
    licence: terms of the weights as their publisher states them, in words for a model card.
    unused:  prefixes of keys that the features do not depend on: may be absent, may be surplus.
    """

    name: str
    folder: str
    files: tuple[str, ...]
    hub: bool
    wanted: str
    source: str
    licence: str
    unused: tuple[str, ...] = ()


def find(published: Published, weights: Path | None) -> Path:
    """The weight file, from the user's folder, else from the hub.  Raises WeightsMissing."""
    if weights is not None and not weights.exists():
        raise WeightsMissing(f"{weights} does not exist.\n{advice(published)}")
    if weights is not None:
        local = find_local(published, weights)
        if local is not None:
            return local
    tried = f"not in {weights}" if weights else "no weights folder given"
    if not published.hub:
        raise WeightsMissing(f"{published.name}: {tried}, and it is not on the hub.\n{advice(published)}")
    try:
        return find_on_hub(published)
    except Exception as error:  # the hub client's HTTP library, and so its errors, change with its version
        reason = str(error).strip().splitlines()[0]
        raise WeightsMissing(
            f"{published.name}: {tried}, and not to be had from the hub ({reason}).\n{advice(published)}"
        ) from error


def find_on_hub(published: Published) -> Path:
    """From the hub's local cache, else downloaded.  Raises the hub client's own errors."""
    for name in published.files:
        cached = try_to_load_from_cache(published.name, name)
        if isinstance(cached, str):
            return Path(cached)
    # Asked once for the list of files: looking for each name in turn retries for a minute offline.
    offered = {
        file.rfilename for file in HfApi().model_info(published.name, timeout=HUB_TIMEOUT_S).siblings or ()
    }
    wanted = next((name for name in published.files if name in offered), None)
    if wanted is None:
        raise ValueError(f"it offers none of {', '.join(published.files)}")
    return Path(hf_hub_download(published.name, wanted))


def find_local(published: Published, weights: Path) -> Path | None:
    """The first file in the documented places of a user's folder (or the file itself), if any."""
    if weights.is_file():
        return weights
    for folder in (weights / published.folder, weights):
        for pattern in published.files:
            found = sorted(path for path in folder.glob(pattern) if path.is_file())
            if len(found) > 1:
                raise WeightsMissing(
                    f"{folder} holds several candidates for {published.name}: "
                    f"{', '.join(str(path.relative_to(folder)) for path in found)}. Name one by its path."
                )
            if found:
                return found[0]
    return None


def advice(published: Published) -> str:
    """Which file to put where."""
    return (
        f"Put {published.wanted} (from {published.source}) into DIR/{published.folder}/ and give that DIR "
        "as the weights folder, or ask for random weights, which need no file."
    )


def file_sha256(path: Path) -> str:
    """Hex sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_state(path: Path) -> dict[str, Tensor]:
    """Tensors by key, from safetensors or from a torch file (read with weights_only=True).

    The wrappings {"model": ...} and {"state_dict": ...} of training code are taken off.
    """
    if path.suffix == ".safetensors":
        return load_file(path)
    content: Any = torch.load(path, map_location="cpu", weights_only=True)
    for wrapping in ("model", "state_dict"):
        if isinstance(content, Mapping) and isinstance(content.get(wrapping), Mapping):
            content = content[wrapping]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise WeightsMismatch(f"{path} does not hold a table of tensors")
    return dict(content)


def rename(state: Mapping[str, Tensor], replacements: Iterable[tuple[str, str]]) -> dict[str, Tensor]:
    """Keys with each (old, new) piece of text replaced, in the order given."""
    renamed: dict[str, Tensor] = {}
    for key, tensor in state.items():
        for old, new in replacements:
            key = key.replace(old, new)
        renamed[key] = tensor
    return renamed


def fill(network: nn.Module, state: Mapping[str, Tensor], published: Published, path: Path) -> None:
    """Copy every tensor into the network, or raise WeightsMismatch naming what does not fit."""
    expected = network.state_dict()

    def matters(key: str) -> bool:
        return not key.startswith(published.unused) and not key.endswith("num_batches_tracked")

    complaints = [f"missing {key}" for key in expected if key not in state and matters(key)]
    complaints += [f"surplus {key}" for key in state if key not in expected and matters(key)]
    complaints += [
        f"{key} is {list(tensor.shape)}, expected {list(expected[key].shape)}"
        for key, tensor in state.items()
        if key in expected and tensor.shape != expected[key].shape and matters(key)
    ]
    if complaints:
        more = f" and {len(complaints) - 8} more" if len(complaints) > 8 else ""
        raise WeightsMismatch(f"{path} is not {published.name}: {'; '.join(complaints[:8])}{more}")
    fitting = {k: v for k, v in state.items() if k in expected and v.shape == expected[k].shape}
    network.load_state_dict(fitting, strict=False)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Networks built inside start from `seed`; the global generators are left as they were."""
    python_state = random.getstate()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
    random.setstate(python_state)

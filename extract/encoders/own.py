"""Encoders of the user's own: any audio model of `transformers`, or a class in a file.

    --encoders hf:OWNER/NAME[@REVISION]   hf:/a/folder
    --encoders file.py:Class

The first are models whose forward pass returns hidden states [B, T, D].  Rate, width, layers and frame rate
are read from their configuration and from what they return for one crop; the revision is part of the
signature.  Code from the hub is run only where the user trusts it.

A class is made without arguments and has

    sample_rate_hz : int       rate of the waves that it takes
    frame_rate_hz : float      frames per second that it returns
    licence : str              terms of its weights, in words
    __call__(waves [B, n])     -> hidden states [B, T, D], or a list of L of them

It must be deterministic, and a crop must give the same states alone and in a batch.  A torch module's tensors
are part of its signature, and so is its source file.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mmmos.extract.encoders.encoder import Loaded, LoadOptions, crop_samples
from mmmos.extract.encoders.hub_models import open_model
from mmmos.extract.encoders.published import Origin
from mmmos.extract.encoders.weights import network_sha256
from mmmos.store.schema import CROP_SECONDS, TENSORS, EncoderSpec

HUB, FILE = "hf.", "own."
"""How the names of such encoders begin in specs, where they are also names of folders."""

FILES = "MMMOS_ENCODER_FILES"
"""file.py:Class,... that may be loaded for specs which name their class: what a bundle or a store says is
never enough to run a file."""

_known: dict[str, str] = {}
"""Class -> file.py:Class, of the encoders that the user named in this process."""


@dataclass(frozen=True)
class OwnEncoder:
    """An encoder in the form of an `EncoderModule`; it was loaded to find these out."""

    name: str
    loaded: Loaded
    SAMPLE_RATE_HZ: int
    FRAME_RATE_HZ: float
    FRAMES: int
    RECIPE: int = 1
    GFLOP_A_CROP: float | None = None
    PUBLISHED: None = None

    def load(self, options: LoadOptions) -> Loaded:
        return self.loaded


def is_own(name: str) -> bool:
    """Whether a name on the command line or in a spec means such an encoder."""
    return name.startswith(("hf:", HUB, FILE)) or bool(re.search(r"\.py:\w+$", name))


def source_of(spec: EncoderSpec) -> str:
    """What to give `load_encoder` to build the encoder of a spec: its name, with the revision of a hub's."""
    if spec.name.startswith(HUB) and re.search("/.+@[0-9a-f]{40}$", spec.checkpoint):
        return f"hf:{spec.checkpoint}"
    return spec.name


def own_encoder(name: str, options: LoadOptions, *, trust: bool = False) -> OwnEncoder:
    """Load what `name` means: hf:OWNER/NAME, file.py:Class, or the name in a spec.

    Raises
    ------
    ValueError
        For what cannot be found, does not return hidden states, or would run code that is not trusted.
    """
    if name.startswith(("hf:", HUB)):
        return _hub(name, options, trust=trust)
    return _file(name)


def _hub(name: str, options: LoadOptions, *, trust: bool) -> OwnEncoder:
    source = name.removeprefix("hf:").removeprefix(HUB)
    if name.startswith(HUB):
        source = _known.get(name) or source.replace("--", "/", 1)
    repository, _, revision = source.partition("@")
    model = open_model(repository, revision, options.random_seed, trust=trust)
    last = Path(repository).name if Path(repository).is_dir() else repository.replace("/", "--")
    spec_name = HUB + re.sub(r"[^A-Za-z0-9_.-]", "_", last)
    _known[spec_name] = source
    frames, dim, layers = probe(model.network, model.sample_rate_hz, f"hf:{source}")
    rate_hz = model.frame_rate_hz or frames / CROP_SECONDS
    loaded = Loaded(model.network, model.origin, dim, layers)
    return OwnEncoder(spec_name, loaded, model.sample_rate_hz, rate_hz, frames)


def _file(name: str) -> OwnEncoder:
    if name.startswith(FILE):
        kind = name.removeprefix(FILE)
        listed = [text.strip() for text in os.environ.get(FILES, "").split(",")]
        allowed = {text.rpartition(":")[2]: text for text in listed if text} | _known
        if kind not in allowed:
            raise ValueError(
                f"encoder {name} is a class in somebody's file: name it, {FILES}=file.py:{kind}, to load it"
            )
        name = allowed[kind]
    place, _, kind = name.rpartition(":")
    path = Path(place).expanduser().resolve()
    made = _instance(path, kind)
    rate_hz, frame_rate_hz = int(made.sample_rate_hz), float(made.frame_rate_hz)
    network = Called(made)
    frames, dim, layers = probe(network, rate_hz, name)
    if abs(frames - frame_rate_hz * CROP_SECONDS) > max(2.0, 0.02 * frames):
        raise ValueError(
            f"{name} says {frame_rate_hz:g} frames a second and returns {frames} for {CROP_SECONDS:g} s"
        )
    tensors = made.state_dict() if isinstance(made, nn.Module) else {}
    code = hashlib.sha256(path.read_bytes()).hexdigest()
    weights = hashlib.sha256(f"{network_sha256(tensors, ())} {code}".encode()).hexdigest()
    _known[kind] = f"{path}:{kind}"
    origin = Origin(f"custom:{weights[:12]}", TENSORS + weights, str(made.licence))
    return OwnEncoder(FILE + kind, Loaded(network, origin, dim, layers), rate_hz, frame_rate_hz, frames)


def _instance(path: Path, kind: str) -> Any:
    if not path.is_file():
        raise ValueError(f"{path} is not there: --encoders takes file.py:Class, or a name")
    spec = importlib.util.spec_from_file_location(f"mmmos_own_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        made = getattr(module, kind)()
    except Exception as error:
        raise ValueError(f"{path}:{kind} cannot be made: {type(error).__name__}: {error}") from error
    missing = [one for one in ("sample_rate_hz", "frame_rate_hz", "licence") if not hasattr(made, one)]
    if missing or not callable(made):
        raise ValueError(f"{path}:{kind} lacks {', '.join(missing) or '__call__'}; see docs/encoders.md")
    return made


class Called(nn.Module):
    """A callable as a network that returns a list of hidden states."""

    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        if isinstance(function, nn.Module):
            self.function: Any = function
        else:
            object.__setattr__(self, "function", function)

    def forward(self, waves: Tensor) -> list[Tensor]:
        found = self.function(waves)
        return [found] if isinstance(found, Tensor) else list(found)


@torch.inference_mode()
def probe(network: nn.Module, rate_hz: int, name: str) -> tuple[int, int, int]:
    """Frames, width and number of the hidden states of one crop; ValueError where they are none.

    Also refuses a network that does not return the same for the same, or for a crop in a batch.
    """
    network.eval()
    waves = torch.randn(2, crop_samples(rate_hz), generator=torch.Generator().manual_seed(0)) * 0.1
    states = network(waves)
    shapes = {tuple(state.shape) for state in states if isinstance(state, Tensor)}
    if not states or len(shapes) != 1 or len(next(iter(shapes))) != 3:
        raise ValueError(f"{name} returns {sorted(shapes)} for one crop, not hidden states [B, T, D] alike")
    (batch, frames, dim) = next(iter(shapes))
    if batch != len(waves) or frames < 1 or not all(bool(torch.isfinite(state).all()) for state in states):
        raise ValueError(f"{name} returns hidden states {batch, frames, dim} for 2 crops, or not finite ones")
    alone = network(waves[:1])
    for state, single in zip(states, alone, strict=True):
        if not torch.allclose(state[:1].float(), single.float(), atol=1e-4 * float(state.abs().max())):
            raise ValueError(f"{name} is not deterministic: a crop alone and in a batch differ")
    return frames, dim, len(states)

"""What every encoder offers: the constants and `load` of its file, and the Encoder made of them."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from mmmos.extract.encoders.packed import Arithmetic
from mmmos.extract.encoders.published import Origin, Published
from mmmos.store.schema import CROP_SECONDS, EncoderSpec


def exact_div(x: float, y: float) -> int:
    """x / y for a y that divides x; ValueError where a rest is left."""
    if x % y:
        raise ValueError(f"{x:g} is not a whole multiple of {y:g}")
    return int(x // y)


def crop_samples(sample_rate_hz: int) -> int:
    """Length of one crop in samples."""
    return exact_div(CROP_SECONDS * sample_rate_hz, 1)


@dataclass(frozen=True)
class Loaded:
    """What an encoder's `load` returns.

    network: maps waves [B, samples] float32 to a list of L hidden states [B, T, D].
    origin:  where its weights come from.
    dim:     D; layers: L.
    fast:    whether it is a forward pass of ours, which decides itself where to round to bfloat16; for
             the stock ones torch's autocast decides.
    masked:  whether the network takes the number of valid frames [B] (int64) as second argument, and
             hides the padding behind them from its attention.
    """

    network: nn.Module
    origin: Origin
    dim: int
    layers: int
    fast: bool = False
    masked: bool = False


@dataclass(frozen=True)
class LoadOptions:
    """How an encoder is to be built; the same choices for all of them.

    weights:     folder or file with pretrained weights; None looks in the hub (or its cache).
    random_seed: build the architecture untrained instead, of `size` "full" or "tiny".
    stock:       the published implementation throughout, without our faster arithmetic.
    precision:   "fp32" or "bf16".
    on_cpu:      where the network will run; the faster arithmetic is mostly for CPUs.
    """

    weights: Path | None = None
    random_seed: int | None = None
    size: str = "full"
    stock: bool = False
    precision: str = "fp32"
    on_cpu: bool = True

    @property
    def arithmetic(self) -> Arithmetic:
        """Number type and place of our own forward passes."""
        return Arithmetic(torch.bfloat16 if self.precision == "bf16" else torch.float32, self.on_cpu)


class EncoderModule(Protocol):
    """What a file of this folder has to define to be named in ENCODERS.

    Attributes
    ----------
    SAMPLE_RATE_HZ : int
        Rate of the waveforms that the encoder takes.
    FRAME_RATE_HZ, FRAMES : float, int
        Frames per second, and frames of one crop of CROP_SECONDS.
    RECIPE : int
        Raised whenever the file's own code changes its output.
    PARTIAL_FRAMES : bool
        Optional, default False: whether a frame that is only partly audio counts as valid.
    GFLOP_A_CROP : float or None
        Arithmetic of the full-size network on one crop: what scoring new audio costs.
    PUBLISHED : Published or None
        Name, licence and place of the pretrained weights; None for an encoder without weights.
    """

    SAMPLE_RATE_HZ: int
    FRAME_RATE_HZ: float
    FRAMES: int
    RECIPE: int
    GFLOP_A_CROP: float

    @property
    def PUBLISHED(self) -> Published | None: ...  # noqa: N802

    def load(self, options: LoadOptions) -> Loaded: ...


class Encoder:
    """A frozen network on a device, and the spec that names its features."""

    def __init__(self, spec: EncoderSpec, loaded: Loaded, device: torch.device) -> None:
        self.spec = spec
        self.masked = loaded.masked
        self.autocast = spec.precision == "bf16" and not loaded.fast
        self.device = device
        self.network = loaded.network.eval().requires_grad_(False).to(device)
        self.samples = crop_samples(spec.sample_rate_hz)
        self.lock = threading.Lock()  # our forward passes keep their large buffers between calls

    @torch.inference_mode()
    def hidden_states(self, waves: Tensor, valid_frames: Tensor | None = None) -> list[Tensor]:
        """Waveforms to hidden states, float32 on this encoder's device.

        A crop gives the same states alone, in any batch and in any order (to 1e-5 of the largest
        value).  Calls from several threads are run one after the other.

        Parameters
        ----------
        waves : Tensor
            [B, one crop of samples] at the encoder's sample rate.
        valid_frames : Tensor, optional
            [B], how many leading frames are audio and not padding, see `EncoderSpec.valid_frames`.  None:
            all.  It changes the states only of encoders that were trained with a mask for padding.

        Returns
        -------
        list of Tensor
            L hidden states [B, T, D].

        Raises
        ------
        ValueError
            For waveforms of another length.
        """
        if waves.ndim != 2 or waves.shape[1] != self.samples:
            raise ValueError(
                f"{self.spec.name} takes waves [B, {self.samples}] "
                f"({CROP_SECONDS:g} s at {self.spec.sample_rate_hz} Hz), not {list(waves.shape)}"
            )
        waves = waves.to(self.device, torch.float32, non_blocking=True)
        inputs: tuple[Tensor, ...] = (waves,)
        if self.masked and valid_frames is not None and bool((valid_frames < self.spec.frames).any()):
            inputs = (waves, valid_frames.to(self.device))
        with self.lock, torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
            return [state.float() for state in self.network(*inputs)]

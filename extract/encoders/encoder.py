"""What every encoder offers: the constants and `load` of its file, and the Encoder made of them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mmmos.extract.encoders.layers import summarise
from mmmos.extract.encoders.packed import Arithmetic
from mmmos.extract.encoders.precision import DTYPES, HALF
from mmmos.extract.encoders.published import Origin, Published
from mmmos.store.device import float32_products
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
    fast:    whether it is a forward pass of ours, which decides itself where to round to 16 bits; for
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
    precision:   "fp32", "tf32", "bf16" or "fp16".
    on_cpu:      where the network will run: CPUs and cards take different shortcuts.
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
        return Arithmetic(DTYPES[self.precision], self.on_cpu)


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
    COLUMNS : tuple of str
        Optional: what each number of a frame is, where that can be said in words.
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
        self.dtype = DTYPES[spec.precision]
        self.autocast = spec.precision in HALF and not loaded.fast
        self.products = "tf32" if spec.precision == "tf32" else "ieee"
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
            [B], how many leading frames are audio and not padding, see `EncoderSpec.valid_frames`, on the
            host or on this encoder's device.  None: all.  It changes the states only of encoders that were
            trained with a mask for padding.

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
        if self.masked and valid_frames is not None and some_padding(valid_frames, self.spec.frames):
            inputs = (waves, valid_frames.to(self.device))
        with (
            self.lock,
            float32_products(self.device, self.products),
            torch.autocast(self.device.type, self.dtype, enabled=self.autocast),
        ):
            return [state.float() for state in self.network(*inputs)]

    def encode(
        self, waves: Sequence[NDArray[np.float32] | Tensor], valid_s: Sequence[float]
    ) -> tuple[Tensor, Tensor]:
        """One batch of crops; on a card the work is queued, not awaited.

        Parameters
        ----------
        waves : sequence of float32 [one crop of samples]
            At the encoder's rate; arrays, or tensors on any device.
        valid_s : sequence of float
            How much of each crop is audio.

        Returns
        -------
        frames, means : Tensor
            [B, T, frame_dim] float16 by the spec's layer rule, and time means [B, L, D] float32 over the
            valid frames; on the encoder's device.
        """
        counts = np.array([self.spec.valid_frames(seconds) for seconds in valid_s])
        with torch.inference_mode():
            (valid,) = self.upload([staged(counts, self.device)])
            hidden = self.hidden_states(self.upload(waves), valid)
            with float32_products(self.device):
                frames, means = summarise(hidden, self.spec.layer, valid)
            # Rounded here: a copy that also changes the type would wait for the device.
            return frames.half(), means

    def upload(self, rows: Sequence[NDArray[Any] | Tensor]) -> Tensor:
        """Rows of one length on the device, [B, n]; rows that are `staged` are copied by the card itself."""
        tensors = [row if isinstance(row, Tensor) else torch.from_numpy(row) for row in rows]
        if self.device.type == "cpu":
            return torch.stack(tensors)
        batch = torch.empty(len(rows), *rows[0].shape, dtype=tensors[0].dtype, device=self.device)
        for place, row in zip(batch.unbind(0), tensors, strict=True):
            place.copy_(row, non_blocking=True)
        return batch

    def fence(self) -> Fence | None:
        """The work that this thread has queued so far; None where it is done already, as on a CPU."""
        if self.device.type != "cuda":
            return None
        event = torch.cuda.Event()
        event.record(torch.cuda.current_stream(self.device))
        return event


def staged(row: NDArray[Any], device: torch.device) -> NDArray[Any]:
    """An array where a card can read it by itself, in memory that torch uses again once it has; for the
    threads that decode.  The same array for a CPU."""
    if device.type != "cuda" or not torch.cuda.is_available():
        return row
    pinned: NDArray[Any] = torch.from_numpy(row).pin_memory().numpy()
    return pinned


class Fence(Protocol):
    """A point in a device's queue of work."""

    def synchronize(self) -> None:
        """Wait until all before it is done."""


def some_padding(valid_frames: Tensor, frames: int) -> bool:
    """Whether a mask changes anything; yes without a look on a card, where one would wait for its queue."""
    return valid_frames.device.type != "cpu" or bool((valid_frames < frames).any())

"""The members of a bundle on the encoders' device: windows that were encoded once, scored by all of them."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmmos.extract.front import Encoded, Front
from mmmos.heads.network.reading import Batch, Reading, as_read
from mmmos.heads.scoring.bundle import Bundle
from mmmos.store.device import BatchSize, float32_products, in_batches
from mmmos.store.schema import EncoderSpec

MOST = 1 << 16
"""Windows at a time, until memory says otherwise."""

_COUNTING = threading.Lock()


@contextmanager
def heads_turn(device: torch.device) -> Iterator[None]:
    """IEEE single precision on a card; on a CPU one thread.

    Heads take thousands of short steps.  Two threads gain little on a quiet machine, and lose a lot on a busy
    one, where at each step one waits for the other; others decode at the same time, so it is always busy.
    """
    with one_thread_here() if device.type == "cpu" else nullcontext(), float32_products(device):
        yield


@contextmanager
def one_thread_here() -> Iterator[None]:
    """torch works with one thread in this one, and with as many as ever in all others, and here afterwards.

    Its number is the process' and each thread's own: a thread takes the process' at its first look and keeps
    it.  To set one's own sets both, so another thread, which goes at once, puts the process' right again.
    """
    with _COUNTING, ThreadPoolExecutor(1) as another:
        count = another.submit(torch.get_num_threads).result()
        torch.set_num_threads(1)
        another.submit(torch.set_num_threads, count).result()
    try:
        yield
    finally:
        torch.set_num_threads(count)


class Members:
    """The M heads of a bundle on the device of a front, whose encodings they read."""

    def __init__(self, bundle: Bundle, front: Front) -> None:
        self.front, self.mixture, self.axes = front, bundle.mixture, len(bundle.axes)
        self.heads = [head.to(front.device).eval() for head in bundle.heads.values()]
        self.priors = {prior.spec.id: Members(prior, front) for prior in (bundle.prior,) if prior}
        self.size = BatchSize(MOST)

    def scores(self, encoded: Encoded, valid_s: Sequence[float]) -> Tensor:
        """Scores [B, M, A] of B windows by every member, of half of them at a time where memory is short.

        To be called within `heads_turn`.
        """

        encoded = encoded | {name: of.as_features(encoded, valid_s) for name, of in self.priors.items()}

        def some(part: slice) -> Tensor:
            of_part = {spec: (frames[part], means[part]) for spec, (frames, means) in encoded.items()}
            return self._scores(of_part, valid_s[part])

        what = f"{len(self.heads)} heads on {self.front.device}"
        return torch.cat(list(in_batches(len(valid_s), self.size, some, what)))

    def _scores(self, encoded: Encoded, valid_s: Sequence[float]) -> Tensor:
        """The same of windows that fit; features that members share are made once.

        Frames that are valid in none of the windows are not looked at.
        """
        specs = {spec.id: spec for head in self.heads for spec in head.specs}
        valid = {name: [spec.valid_frames(seconds) for seconds in valid_s] for name, spec in specs.items()}
        sent = self.front.upload(np.array([valid_s, *valid.values()]))
        seconds, counts = sent[0].float(), dict(zip(valid, sent[1:].long(), strict=True))
        made: dict[tuple[str, Reading], Tensor] = {}
        outputs = []
        for head in self.heads:
            for spec in head.specs:
                if (spec.id, head.reading) not in made:
                    frames, means = encoded[spec.id]
                    frames = frames[:, : max(valid[spec.id])]
                    read = _as_read(head.reading, spec, frames, means, counts[spec.id])
                    made[spec.id, head.reading] = read
            features = tuple(made[spec.id, head.reading] for spec in head.specs)
            outputs.append(head.scores(Batch(features, seconds)))
        return torch.stack(outputs, dim=1)

    def as_features(self, encoded: Encoded, valid_s: Sequence[float]) -> tuple[Tensor, Tensor]:
        """The mixture's scores of B windows in the form of an encoder's frames and means (see `prior`)."""
        shares, offset = self._linear()
        scores = ((self.scores(encoded, valid_s) * shares).sum(dim=1) + offset).float()[:, None]
        return scores.half(), scores

    def _linear(self) -> tuple[Tensor, Tensor]:
        """`Mixture.linear` on the device."""
        shares, offset = map(torch.from_numpy, self.mixture.linear(self.axes))
        return shares.to(self.front.device), offset.to(self.front.device)

    def means(self, clips: Sequence[Tensor], rate_hz: int, lock: AbstractContextManager[Any]) -> Tensor:
        """[B, A] float64 scores of whole clips [channels, n] on the device (see `Front.cut`).

        lock: held while encoders run, which may reuse their buffers.
        """
        shares, offset = self._linear()
        totals = shares.new_zeros(len(clips), len(offset) + 1)  # scores times seconds, seconds
        for numbers, windows in self.front.cut(clips, rate_hz):
            valid_s = [window.valid_s for window in windows]
            with lock:
                encoded = self.front.encode(windows)
                with heads_turn(self.front.device):
                    members = self.scores(encoded, valid_s)
            seconds = torch.tensor(valid_s, dtype=totals.dtype, device=totals.device)[:, None]
            sums = torch.cat(((members * shares).sum(dim=1) * seconds, seconds), dim=1)
            totals.index_add_(0, torch.tensor(numbers, device=totals.device), sums)
        return totals[:, :-1] / totals[:, -1:] + offset


def _as_read(reading: Reading, spec: EncoderSpec, frames: Tensor, means: Tensor, valid: Tensor) -> Tensor:
    """`reading.as_read` of B windows' frames [B, T, frame_dim] (`valid` [B] of them), and means [B, L, D]."""
    return as_read(reading, spec, frames=lambda: (frames, valid), means=lambda: means)

"""A trained ensemble at work: audio in, one answer each out (see `answers`), loaded once.

Every window goes through each encoder once, whatever the number of members; windows of several files share
batches; a file's score is the mean of its 10 s crops weighted by `valid_s`, as in training's evaluation.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from mmmos.heads.network.alignment import average_down, mean_and_deviation
from mmmos.heads.network.model import Batch, Head
from mmmos.heads.scoring.answers import Answer, flags, identity
from mmmos.heads.scoring.front_end import Encoded, FrontEnd, Window
from mmmos.heads.scoring.golden import deviations, golden_scores
from mmmos.heads.scoring.intervals import LEVELS, Intervals
from mmmos.heads.scoring.reference import Reference
from mmmos.heads.scoring.requests import Request, list_requests
from mmmos.heads.training.data import layer_rule
from mmmos.store.schema import EncoderSpec, Scale

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Ensemble:
    """What is scored with: heads and their weights, and what is known about their errors."""

    id: str
    axes: tuple[str, ...]
    scale: Scale
    heads: tuple[Head, ...]
    weights: tuple[float, ...]
    intervals: Intervals
    reference: Reference
    caveats: tuple[str, ...]
    golden: Mapping[str, Mapping[str, float]]


@dataclass
class _Tally:
    """What is known of one piece while its windows pass by."""

    request: Request
    seconds: float = 0.0
    scores: Array | float = 0.0
    features: dict[str, Any] = field(default_factory=dict)
    windows: list[dict[str, float]] = field(default_factory=list)
    end: Any = None


class Scorer:
    """Scores waveforms and files; safe to call from several threads."""

    def __init__(self, ensemble: Ensemble, front: FrontEnd) -> None:
        self.ensemble, self.front = ensemble, front
        self.heads = [head.to(front.device).eval() for head in ensemble.heads]
        self.weights = np.array(ensemble.weights) / np.sum(ensemble.weights)
        self._lock = threading.Lock()

    @property
    def id(self) -> str:
        return self.ensemble.id

    @property
    def axes(self) -> tuple[str, ...]:
        return self.ensemble.axes

    @property
    def caveats(self) -> tuple[str, ...]:
        return self.ensemble.caveats

    def __call__(
        self, waveform: ArrayLike | Tensor, sample_rate: int, *, domain: str = "", hop_s: float | None = None
    ) -> Answer:
        """The answer for a waveform [n] or [channels, n]: floats of full scale 1, int16 or int32.

        domain: its kind where known; hop_s: adds scores of 10 s windows every so many seconds.
        ValueError with the reason where it cannot be scored.
        """
        (answer,) = self.waveforms([(waveform, sample_rate)], domain=domain, hop_s=hop_s)
        if "error" in answer:
            raise ValueError(answer["error"])
        return {key: value for key, value in answer.items() if key not in ("id", "path")}

    def waveforms(
        self,
        waveforms: Sequence[tuple[ArrayLike | Tensor, int]],
        *,
        domain: str = "",
        hop_s: float | None = None,
    ) -> list[Answer]:
        """Answers for (waveform, sample rate) pairs, batched; one that cannot be scored has an `error`."""
        arrays = [(_as_array(wave), int(rate)) for wave, rate in waveforms]
        requests = [Request(str(n), "", Path(), domain=domain) for n in range(len(arrays))]
        pieces = [lambda a=array, r=rate: self.front.wave_piece(a, r) for array, rate in arrays]
        return list(self.answers(requests, pieces, hop_s))

    def files(
        self, paths: Iterable[str | Path], *, hop_s: float | None = None, audio_root: Path | None = None
    ) -> list[Answer]:
        """Answers for files, folders, patterns and lists (see `store.requests`), in their order."""
        return list(self.stream(list_requests(map(str, paths), audio_root), hop_s=hop_s))

    def stream(self, requests: Sequence[Request], *, hop_s: float | None = None) -> Iterator[Answer]:
        """Answers for requests as they come, in their order and in constant memory."""
        pieces = [lambda r=request: self.front.file_piece(r.file, r.start_s, r.end_s) for request in requests]
        return self.answers(requests, pieces, hop_s)

    def check(self) -> list[str]:
        """One line per golden score that does not come out here as it did where the bundle was exported."""
        if not self.ensemble.golden:
            return ["this bundle carries no golden scores; export it with the encoders at hand"]
        span = self.ensemble.scale.high - self.ensemble.scale.low
        return deviations(self.ensemble.golden, golden_scores(self), span)

    def answers(
        self, requests: Sequence[Request], pieces: Sequence[Any], hop_s: float | None = None
    ) -> Iterator[Answer]:
        """Answers for requests whose audio `pieces` open (see extract.stream), in their order."""
        tallies: dict[int, _Tally] = {}
        waiting: list[tuple[int, Window]] = []
        for number, event in self.front.listen(pieces, hop_s):
            tally = tallies.setdefault(number, _Tally(requests[number]))
            if hasattr(event, "valid_s"):
                waiting.append((number, event))
                if len(waiting) < self.front.batch:
                    continue
                self._score(waiting, tallies)
                waiting = []
            else:
                tally.end = event
            if not waiting:
                yield from self._finished(tallies)
        if waiting:
            self._score(waiting, tallies)
        yield from self._finished(tallies)

    def _finished(self, tallies: dict[int, _Tally]) -> Iterator[Answer]:
        """The answers of all pieces that have ended; the one still going on stays."""
        for number in [n for n, tally in sorted(tallies.items()) if tally.end is not None]:
            yield self._answer(tallies.pop(number))

    @torch.inference_mode()
    def _score(self, waiting: Sequence[tuple[int, Window]], tallies: Mapping[int, _Tally]) -> None:
        windows = [window for _, window in waiting]
        with self._lock:  # encoders may reuse their buffers
            encoded = self.front.encode(windows)
            scores = self._members(encoded, [window.valid_s for window in windows])
        features = {
            spec.id: layer_rule(encoded[spec.id][1].cpu().numpy(), spec).astype(np.float64)
            for spec in self.front.specs
        }
        for row, (number, window) in enumerate(waiting):
            tally = tallies[number]
            if window.grid:
                tally.seconds += window.valid_s
                tally.scores = tally.scores + window.valid_s * scores[row]
                for name, values in features.items():
                    tally.features[name] = tally.features.get(name, 0.0) + window.valid_s * values[row]
            if window.hop:
                start_s = (tally.request.start_s or 0.0) + window.start_s
                one = {"start_s": round(start_s, 3), "end_s": round(start_s + window.valid_s, 3)}
                tally.windows.append(one | self._rounded(self._on_scale(self.weights @ scores[row])))

    def _members(self, encoded: Encoded, valid_s: Sequence[float]) -> Array:
        """Scores [B, M, A] of B windows by every member; features that members share are made once."""
        seconds = torch.tensor(valid_s, dtype=torch.float32, device=self.front.device)
        made: dict[tuple[str, str, float], Tensor] = {}
        outputs = []
        for head in self.heads:
            features = []
            for spec in head.specs:
                key = (spec.id, head.reads, head.config.frame_rate_hz)
                if key not in made:
                    made[key] = read(head.reads, spec, head.config.frame_rate_hz, *encoded[spec.id], valid_s)
                features.append(made[key])
            outputs.append(head.scores(Batch(tuple(features), seconds)))
        return torch.stack(outputs, dim=1).cpu().numpy()

    def _answer(self, tally: _Tally) -> Answer:
        start = identity(tally.request)
        last = {"bundle": self.id} | ({"caveats": list(self.caveats)} if self.caveats else {})
        if isinstance(tally.end, Exception):
            return {**start, "error": str(tally.end), **last}
        members = np.asarray(tally.scores) / tally.seconds
        mean = self.weights @ members
        spread = np.sqrt(self.weights @ np.square(members - mean))
        nearest, strange = self.ensemble.reference.place(
            {name: (total / tally.seconds)[None] for name, total in tally.features.items()}
        )
        domain = tally.request.domain or nearest[0]
        scores = self._on_scale(mean)
        answer = {**start, **self._rounded(scores)}
        for level in LEVELS:
            half = self.ensemble.intervals.half_widths(level, spread, domain)
            for axis, low, high in zip(
                self.axes, self._on_scale(mean - half), self._on_scale(mean + half), strict=True
            ):
                answer[f"{axis}_{round(100 * level)}_low"] = _number(low)
                answer[f"{axis}_{round(100 * level)}_high"] = _number(high)
        answer |= {f"{axis}_spread": _number(s) for axis, s in zip(self.axes, spread, strict=True)}
        answer |= {"seconds": round(tally.seconds, 3), "domain": domain}
        answer["flags"] = flags(tally.end, bool(strange[0]))
        if tally.windows:
            answer["windows"] = tally.windows
        return {**answer, **last}

    def _on_scale(self, values: Array) -> Array:
        return np.clip(values, self.ensemble.scale.low, self.ensemble.scale.high)

    def _rounded(self, values: Array) -> dict[str, Any]:
        return {axis: _number(value) for axis, value in zip(self.axes, values, strict=True)}


def read(
    reads: str, spec: EncoderSpec, rate_hz: float, frames: Tensor, means: Tensor, valid_s: Sequence[float]
) -> Tensor:
    """One encoder's features of B windows as a head reads them: `data.prepare`, on the encoders' device."""
    if reads == "layers":
        return means
    if reads == "means":
        return torch.from_numpy(np.ascontiguousarray(layer_rule(means.cpu().numpy(), spec))).to(means.device)
    valid = torch.tensor([spec.valid_frames(seconds) for seconds in valid_s], device=frames.device)
    if reads == "statistics":
        return mean_and_deviation(frames, valid)
    return average_down(frames, spec, valid, rate_hz)


def _as_array(wave: ArrayLike | Tensor) -> NDArray[Any]:
    array = wave.detach().cpu().numpy() if isinstance(wave, Tensor) else np.asarray(wave)
    if array.ndim == 2 and array.shape[0] > array.shape[1]:
        raise ValueError(
            f"a waveform is [n] or [channels, n]; {list(array.shape)} has more channels than samples"
        )
    return array


def _number(value: float) -> float | None:
    """Five decimals are far below any rater's resolution; None where undefined."""
    return round(float(value), 5) if np.isfinite(value) else None

"""Scoring audio with a trained ensemble that is loaded once: audio in, one answer each out (see `answers`).

    from mmmos import load_bundle

    scorer = load_bundle("bundle")
    scorer(waveform, sample_rate)["PQ"]

Every window goes through each encoder once, whatever the number of members, and windows of several files
share batches, in the encoders and in the heads.  A file's score is the mean of the scores of its 10 s crops
weighted by `valid_s`, as in the evaluation of training.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from mmmos.extract.front import Front, Listening, Window, normalised, open_file, open_wave
from mmmos.heads.network.reading import layer_rule
from mmmos.heads.scoring.answers import Answer, signature
from mmmos.heads.scoring.bundle import Bundle
from mmmos.heads.scoring.golden import deviations, golden_scores
from mmmos.heads.scoring.members import Members, heads_turn
from mmmos.heads.scoring.requests import AudioRequest, list_requests
from mmmos.heads.scoring.result import answer_of, scores_by_axis
from mmmos.heads.scoring.tally import Held, Queued, Tally
from mmmos.heads.scoring.waveforms import Waves, believable, many_clips, one_clip

Array = NDArray[np.float64]

HEADS_AT_ONCE_S, COUNTED_S = 160.0, 5.0
"""Audio whose windows' heads run together on a CPU: reading their weights is most of the work for a single
one.  What is held of a short window takes as much memory as for a long one, so each counts for so many."""
HELD_S = 1.0
"""No window waits longer than this for others, so that with slow encoders answers come one by one."""


class Scorer:
    """Scores waveforms and files with a bundle and its encoders; safe to call from several threads.

    Parameters
    ----------
    bundle
        The heads, their weights, and what is known about their errors.
    front
        The bundle's encoders on one device.
    """

    def __init__(self, bundle: Bundle, front: Front) -> None:
        self.bundle, self.front = bundle, front
        self.id, self.axes, self.caveats = bundle.id, bundle.axes.names, bundle.caveats
        self.members = Members(bundle, front)
        self._lock = threading.Lock()

    def __deepcopy__(self, memo: dict[int, Any]) -> Scorer:
        """Itself: nothing changes a scorer, and copies of a model or a metric can share its weights."""
        return self

    def __call__(
        self,
        waveform: ArrayLike | Tensor,
        sample_rate: int,
        *,
        channels: bool = False,
        domain: str = "",
        hop_s: float | None = None,
    ) -> Answer:
        """The answer for one waveform.

        Parameters
        ----------
        waveform
            [n], or [channels, n] with `channels`: floats of full scale 1, int16 or int32.
        sample_rate
            In Hz.
        channels
            The rows of a waveform [channels, n] are one clip's channels, which are averaged.
        domain
            The kind of audio where it is known; left out, the nearest training domain is taken.
        hop_s
            Also score overlapping 10 s windows that begin every so many seconds (1 to 10).

        Raises
        ------
        ValueError
            With the reason, where the waveform cannot be scored.
        """
        (answer,) = self.waveforms([(waveform, sample_rate)], channels=channels, domain=domain, hop_s=hop_s)
        if "error" in answer:
            raise ValueError(answer["error"])
        return {key: value for key, value in answer.items() if key not in ("id", "path")}

    def waveforms(
        self,
        waveforms: Sequence[tuple[ArrayLike | Tensor, int]],
        *,
        channels: bool = False,
        domain: str = "",
        hop_s: float | None = None,
    ) -> list[Answer]:
        """Answers for (waveform, sample rate) pairs, batched; one that cannot be scored has an `error`."""
        arrays = [(one_clip(wave, channels=channels), int(rate)) for wave, rate in waveforms]
        requests = [AudioRequest(str(n), "", Path(), domain=domain) for n in range(len(arrays))]
        return list(self.answers(requests, [partial(open_wave, *array) for array in arrays], hop_s))

    def files(
        self, paths: Iterable[str | Path], *, audio_root: Path | None = None, **options: float | None
    ) -> list[Answer]:
        """Answers for files, folders, patterns and lists, in their order (see `requests.list_requests`); the
        options are those of `stream`."""
        return list(self.stream(list_requests(map(str, paths), audio_root), **options))

    def stream(
        self,
        requests: Sequence[AudioRequest],
        *,
        hop_s: float | None = None,
        loudness_lufs: float | None = None,
    ) -> Iterator[Answer]:
        """Answers for requests as they become known, in their order and in constant memory.

        With `loudness_lufs` each is first brought to that loudness, for which it is decoded twice.
        """
        pieces: list[Listening] = [partial(open_file, r.file, r.start_s, r.end_s) for r in requests]
        if loudness_lufs is not None:
            pieces = [partial(normalised, piece, loudness_lufs) for piece in pieces]
        made_by = {"bundle": signature(self.id, loudness_lufs)}
        return (answer | made_by for answer in self.answers(requests, pieces, hop_s))

    @torch.inference_mode()
    def scores(self, waves: Waves, sample_rate: int, *, channels: bool = False) -> Tensor:
        """Scores of a batch of clips, on the encoders' device; no audio passes through the CPU.

        They are those of files within 1e-4 of the scale, or 1e-3 where the audio has to be resampled, which
        is done on the device too.  No gradient flows through them.

        Parameters
        ----------
        waves
            [B, n], or a list of [n] of any lengths: floats of full scale 1, int16 or int32.
        sample_rate
            In Hz, of all clips.
        channels
            The clips are [channels, n]: a batch [B, channels, n] or a list of such; channels are averaged.

        Returns
        -------
        Tensor
            [B, A] float32, columns as `axes`; NaN for a clip whose scores lie so far off the scale that a
            file would get an error in their place.

        Raises
        ------
        ValueError
            With the reason, naming the clip that cannot be scored.
        """
        clips = many_clips(waves, channels=channels)
        means = self.members.means(clips, int(sample_rate), self._lock)
        return believable(means, self.bundle.scale, self.bundle.bounded).float()

    def check(self) -> list[str]:
        """One line per golden score that differs here from what it was where the bundle was exported."""
        golden = self.bundle.about.get("golden")
        if not golden:
            return ["this bundle carries no golden scores; export it with the encoders at hand"]
        span = self.bundle.scale.high - self.bundle.scale.low
        return deviations(golden, golden_scores(self, self.axes), span)

    def answers(
        self, requests: Sequence[AudioRequest], pieces: Sequence[Listening], hop_s: float | None = None
    ) -> Iterator[Answer]:
        """Answers for requests whose audio is opened by calling `pieces`, in their order."""
        tallies: dict[int, Tally] = {}
        waiting: list[tuple[Tally, Window]] = []
        held = Held()
        queued: deque[Queued] = deque()
        for number, event in self.front.listen(pieces, hop_s):
            tally = tallies.setdefault(number, Tally(requests[number]))
            if isinstance(event, Window):
                tally.open += 1
                waiting.append((tally, event))
                if len(waiting) >= self.front.batch:
                    self._encode(waiting, held)
                    waiting = []
                    if self._is_due(held):
                        queued.append(self._queue(held))
                        held = Held()
            else:
                tally.end = event
            while len(queued) > self.front.in_flight:
                self._add(queued.popleft())
            yield from self._finished(tallies)
        if waiting:
            self._encode(waiting, held)
        if held.waiting:
            queued.append(self._queue(held))
        for batch in queued:
            self._add(batch)
        yield from self._finished(tallies)

    def _finished(self, tallies: dict[int, Tally]) -> Iterator[Answer]:
        """The answers of the first pieces, as far as all is known of them; the others stay."""
        for number, tally in sorted(tallies.items(), key=itemgetter(0)):
            if tally.end is None or tally.open:
                return
            del tallies[number]
            yield answer_of(tally, self.bundle)

    @torch.inference_mode()
    def _encode(self, waiting: Sequence[tuple[Tally, Window]], held: Held) -> None:
        with self._lock:  # encoders may reuse their buffers
            held.add(waiting, self.front.encode([window for _, window in waiting]))

    def _is_due(self, held: Held) -> bool:
        late = time.monotonic() - held.since_s > HELD_S
        held_s = sum(max(COUNTED_S, window.valid_s) for _, window in held.waiting)
        return self.front.device.type != "cpu" or held_s >= HEADS_AT_ONCE_S or late

    @torch.inference_mode()
    def _queue(self, held: Held) -> Queued:
        """Score encoded windows by every member; a card's work is queued, not awaited."""
        with self._lock, heads_turn(self.front.device):
            encoded = held.together(self.front.specs)
            scores = self.members.scores(encoded, [window.valid_s for _, window in held.waiting])
            features = {spec.id: layer_rule(encoded[spec.id][1], spec) for spec in self.front.specs}
            on_host = {spec_id: self.front.to_host(values) for spec_id, values in features.items()}
            return Queued(held.waiting, self.front.to_host(scores), on_host, self.front.fence())

    def _add(self, batch: Queued) -> None:
        """Add the results of a batch, once they are there, to their pieces."""
        if batch.done is not None:
            batch.done.synchronize()
        scores = batch.scores.numpy()
        features = {spec_id: values.numpy().astype(np.float64) for spec_id, values in batch.features.items()}
        for row, (tally, window) in enumerate(batch.waiting):
            tally.open -= 1
            if window.grid:
                tally.scores.add(scores[row], window.valid_s)
                for spec_id, values in features.items():
                    tally.features[spec_id].add(values[row], window.valid_s)
            if window.hop:
                start_s = (tally.request.start_s or 0.0) + window.start_s
                mean, _ = self.bundle.mixture.mean_and_spread(scores[row])
                times = {"start_s": round(start_s, 3), "end_s": round(start_s + window.valid_s, 3)}
                tally.windows.append(times | scores_by_axis(mean, self.bundle))

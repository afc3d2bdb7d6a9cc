"""Stands in for the package `audiobox_aesthetics`: the same calls and the same answers, by our encoder.

    from mmmos.audiobox import initialize_predictor

    predictor = initialize_predictor()
    predictor.forward([{"path": "a.wav"}, {"path": waveform, "sample_rate": 44100}])

Beyond theirs, start and end may be fractions of a second, either may be left out, and any file is read that
`mmmos predict` reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from mmmos.extract.front import Listening, open_up_to, open_wave
from mmmos.heads.scoring.audiobox import AUDIOBOX
from mmmos.heads.scoring.loading import load_bundle
from mmmos.heads.scoring.requests import AudioRequest, read_request


class AesPredictor:
    """Scores CE, CU, PC and PQ of files and waveforms.

    Parameters
    ----------
    checkpoint_pth
        The published checkpoint.pt or model.safetensors, or a folder with it; None finds it as
        `mmmos weights` does.
    data_col
        The key under which a row names its file or holds its waveform.
    device, batch
        As of `load_bundle`.
    """

    def __init__(
        self,
        checkpoint_pth: str | Path | None = None,
        *,
        data_col: str = "path",
        device: str = "auto",
        batch: int | None = None,
    ) -> None:
        self.data_col = data_col
        self.scorer = load_bundle(AUDIOBOX, weights=checkpoint_pth, device=device, batch=batch)

    def forward(self, batch: Sequence[Mapping[str, Any]]) -> list[dict[str, float]]:
        """One dict of scores a row, in the order of the rows.

        Parameters
        ----------
        batch
            Rows {"path": file}, with "start_time" and "end_time" in seconds for a part of it (an end beyond
            the end of the file is its end), or {"path": waveform [channels, n], "sample_rate": Hz}, whose
            times are not looked at.

        Raises
        ------
        ValueError
            Naming the row that cannot be scored, and why.
        """
        scores = []
        for number, answer in enumerate(self.answers(batch), 1):
            if "error" in answer:
                raise ValueError(f"row {number}: {answer['path'] or 'waveform'}: {answer['error']}")
            scores.append(answer)
        return scores

    def answers(self, batch: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
        """`forward` as it becomes known: scores, or {"path", "error"} for what cannot be read."""
        requests, sounds = [], []
        for number, row in enumerate(batch, 1):
            try:
                request, sound = self._open(row, number)
            except ValueError as reason:
                raise ValueError(f"row {number}: {reason}") from None
            requests.append(request)
            sounds.append(sound)
        for answer in self.scorer.answers(requests, sounds):
            if "error" in answer:
                yield {"path": answer["path"], "error": answer["error"]}
            else:
                yield {axis: answer[axis] for axis in self.scorer.axes}

    def _open(self, row: Mapping[str, Any], number: int) -> tuple[AudioRequest, Listening]:
        """What a row asks for, and what opens it; the number tells apart rows that ask for the same."""
        if self.data_col not in row:
            raise ValueError(f"no key {self.data_col!r}, only {', '.join(map(str, row)) or 'nothing'}")
        given = row[self.data_col]
        if isinstance(given, str | PathLike):
            request = read_request({**row, "path": str(given), "id": str(number)}, Path(), Path())
            return request, partial(open_up_to, request.file, request.start_s, request.end_s)
        if "sample_rate" not in row:
            raise ValueError("a waveform needs its 'sample_rate'")
        wave = given.numpy(force=True) if isinstance(given, Tensor) else np.asarray(given)
        return AudioRequest(str(number), "", Path()), partial(open_wave, wave, int(row["sample_rate"]))


def initialize_predictor(ckpt: str | Path | None = None) -> AesPredictor:
    """A predictor with the published weights, or those of the checkpoint `ckpt`."""
    return AesPredictor(ckpt)

"""How busy a fast card would be, with a simulated one behind the real extraction and the real predict.

    python -m tests.bench.pipeline [--quick] [--crops N] [--workers 16] [--local 2]

The card is asynchronous and takes 2.3 ms a crop (see `simulated`).  Decoding is simulated too: 16 threads
that sleep for what a crop takes on one core, 13.4 ms for WAV and 18.9 ms for FLAC, as 16 cores would.  So the
figures say what the pipeline allows, not how fast this machine decodes.  Features are small, so that a slow
disk does not count.  The last line is JSON:

    busy_extract         the lower of WAV and FLAC
    busy_predict_long    files of three minutes
    busy_predict_short   files of one window
    busy_cluster         the lowest of the cards of `--cluster local:N`, each with 16 / N threads and WAV

each the part of the time, from a card's first work to the end of its last, in which it has work.  What is
before the first (starting up, decoding the first crops) and after the last (answers, the last shard) is not
counted.  `decoding_allows` says how many times as many crops are decoded as the card takes: from 1 on a
figure of 1 means that the pipeline never let the card wait, below it no figure can be much higher than that
(`--workers 1` for one).
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmmos.extract.cluster import extract_on, machines
from mmmos.extract.compute import Compute
from mmmos.extract.encoders import load_encoder
from mmmos.extract.extraction import extract
from mmmos.extract.front import Front
from mmmos.extract.request import ExtractRequest
from mmmos.heads.scoring.requests import AudioRequest
from mmmos.heads.scoring.scorer import Scorer
from mmmos.store.clips import ClipTable
from mmmos.store.schema import Clip
from tests.bench import simulated
from tests.heads.scoring.made_bundle import made_bundle


def table_of(crops: int, suffix: str) -> ClipTable:
    """Clips of three minutes."""
    clips = range(-(-crops // 18))
    return ClipTable(tuple(Clip(str(n), f"a.{suffix}", audio=f"{n:032x}", duration_s=180.0) for n in clips))


def busy_extract(crops: int, suffix: str, workers: int) -> float:
    encoder = simulated.simulated_encoder()
    encoder.card = simulated.Card()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / f"a.{suffix}").write_bytes(b"there")
        table = table_of(crops, suffix)
        done = extract(
            table, Path(folder), [encoder], Path(folder) / "f", Compute(workers=workers), quiet=True
        )
        assert sum(done.encoded.values()) == done.crops
    return encoder.card.busy


def busy_predict(files: int, windows: int, workers: int) -> float:
    encoder = simulated.simulated_encoder()
    encoder.card = simulated.Card()
    front = Front([encoder], Compute(workers=workers))
    front.device = torch.device("cpu")  # of the heads, which are real
    scorer = Scorer(made_bundle([encoder.spec]), front)
    requests = [AudioRequest(str(n), f"{n}", Path()) for n in range(files)]
    answers = list(scorer.answers(requests, [lambda: windows] * files))  # type: ignore[list-item]
    assert [answer["id"] for answer in answers] == [request.id for request in requests]
    return encoder.card.busy


def busy_cluster(crops: int, local: int, workers: int) -> float:
    """Of workers that are real processes, with this card preloaded."""
    preload = "tests.bench.simulated"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "a.wav").write_bytes(b"there")
        (folder / "log").mkdir()
        os.environ |= {
            "DASK_DISTRIBUTED__WORKER__PRELOAD": f'["{preload}"]',
            simulated.LOG: str(folder / "log"),
        }
        import dask

        dask.config.set({"distributed.worker.preload": [preload]})
        request = ExtractRequest(clips=folder, audio_root=folder, encoders="logmel")
        specs = (load_encoder("logmel", audio_recipe=simulated_recipe()).spec,)
        compute = Compute(device="cuda", workers=max(1, workers // local))
        with machines(f"local:{local}", compute) as there:
            extract_on(there, table_of(crops, "wav"), request, folder / "f", specs, quiet=True)
        logs = [list(map(float, path.read_text().split())) for path in (folder / "log").iterdir()]
    return min(busy_s / (until_s - first_s) for busy_s, first_s, until_s in logs)


def simulated_recipe() -> str:
    from mmmos.extract.audio import AUDIO_RECIPE

    return AUDIO_RECIPE


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the crops")
    parser.add_argument("--crops", type=int)
    parser.add_argument("--workers", type=int, default=16)
    parser.add_argument("--local", type=int, default=2)
    options = parser.parse_args()
    crops = options.crops or (400 if options.quick else 4000)
    simulated.install()
    extracted = {suffix: busy_extract(crops, suffix, options.workers) for suffix in ("wav", "flac")}
    found: dict[str, Any] = {
        "busy_extract": min(extracted.values()),
        **{f"busy_extract_{suffix}": busy for suffix, busy in extracted.items()},
        "busy_predict_long": busy_predict(-(-crops // 18), 18, options.workers),
        "busy_predict_short": busy_predict(crops, 1, options.workers),
        "busy_cluster": busy_cluster(crops * options.local, options.local, options.workers),
    }
    found = {name: round(float(np.float64(value)), 4) for name, value in found.items()}
    found["decoding"] = f"simulated, {options.workers} threads"
    found["decoding_allows"] = {
        suffix: round(options.workers * simulated.CROP_S / seconds, 2)
        for suffix, seconds in simulated.DECODING_S.items()
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()

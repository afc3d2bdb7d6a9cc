"""What scoring costs beyond its encoders: the paper's eight-member ensemble over full-size networks.

    python -m tests.bench.predict [--quick] [--device cuda] [--batch N] [--size tiny]

In turns, in one process: the encoders alone on waveforms that lie ready, each crop once through each; and
the scorer on a file of the same crops (decode, resample, encoders, eight heads, intervals, answer).  The
ratio of each turn is taken and their median printed, in wall time and in CPU time (steadier where the machine
does other things).  The weights are untrained: the arithmetic does not depend on them.  The last line is
JSON; `cost_over_encoders` is 1.0 for the encoders alone, `cost_over_encoders_cpu` the same in CPU time.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from mmmos.extract.audio import AUDIO_RECIPE, write_audio
from mmmos.extract.compute import Compute
from mmmos.extract.decoding import open_file
from mmmos.extract.encoders import Encoder, load_encoder
from mmmos.extract.front import Front
from mmmos.extract.stream import Window, windows
from mmmos.heads.grids import configure
from mmmos.heads.network.model import Head
from mmmos.heads.scoring.bundle import Bundle
from mmmos.heads.scoring.intervals import CONFIDENCE_LEVELS, Intervals
from mmmos.heads.scoring.reference import Reference
from mmmos.heads.scoring.requests import list_requests
from mmmos.heads.scoring.scorer import Scorer
from mmmos.store.device import choose_device
from mmmos.store.schema import AES_AXES, EncoderSpec, Scale
from tests.conftest import ROOT

NAMES = ("wavlm", "muq", "m2d")
RATE_HZ = 44100


def eight_members(specs: dict[str, EncoderSpec]) -> list[Head]:
    """Untrained heads of the eight configurations that the paper's Table III ticks."""
    with (ROOT / "tests" / "golden" / "table3_srcc.csv").open() as file:
        ticked = [row for row in csv.DictReader(file) if row["in_ensemble"] == "1"]
    heads = []
    for row in ticked:
        chosen = [specs[name] for name in row["encoders"].split("+")]
        config = configure("data", [spec.id for spec in chosen], row["aggregator"], row["loss"])
        heads.append(Head(config, chosen, AES_AXES.names, Scale(1, 10)).eval())
    return heads


def scorer_of(encoders: list[Encoder], batch: int | None) -> Scorer:
    bundle = bundle_of({encoder.spec.name: encoder.spec for encoder in encoders})
    return Scorer(bundle, Front(encoders, Compute(batch=batch, workers=1)))


def bundle_of(specs: dict[str, EncoderSpec]) -> Bundle:
    """The eight members over encoders by name, with intervals and a reference of no meaning."""
    members = {head.config.id: head for head in eight_members(specs)}
    dims = {spec.id: spec.frame_dim for spec in specs.values()}
    reference = Reference(
        ("speech",),
        {name: np.zeros((1, dim), np.float32) for name, dim in dims.items()},
        {name: np.ones(dim, np.float32) for name, dim in dims.items()},
        1.0,
        1,
    )
    quantiles = {"": dict.fromkeys(CONFIDENCE_LEVELS, (1.0,) * 4)}
    intervals = Intervals(AES_AXES.names, (1.0,) * 4, quantiles, {"": 1}, "none")
    weights = (1 / len(members),) * len(members)
    return Bundle(members, weights, intervals, reference, ("untrained",), {})


@torch.inference_mode()
def encoders_alone(encoders: list[Encoder], ready: list[list[torch.Tensor]]) -> None:
    """Every prepared batch through every encoder, and nothing else."""
    for waves in ready:
        for encoder, wave in zip(encoders, waves, strict=True):
            encoder.hidden_states(wave)
    if encoders[0].device.type == "cuda":
        torch.cuda.synchronize()


def prepared(encoders: list[Encoder], path: Path, batch: int) -> list[list[torch.Tensor]]:
    rates_hz = sorted({encoder.spec.sample_rate_hz for encoder in encoders})
    crops = [event.waves for event in windows(open_file(path), rates_hz) if isinstance(event, Window)]
    parts = [crops[at : at + batch] for at in range(0, len(crops), batch)]
    return [
        [
            torch.stack([torch.from_numpy(crop[encoder.spec.sample_rate_hz]) for crop in part])
            for encoder in encoders
        ]
        for part in parts
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one crop, three turns")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, help="windows per forward pass; left out: by device")
    parser.add_argument("--size", default="full", choices=("full", "tiny"))
    parser.add_argument("--crops", type=int, help="10 s crops in the file")
    parser.add_argument("--turns", type=int)
    options = parser.parse_args()
    crops, turns = options.crops or (1 if options.quick else 4), options.turns or (3 if options.quick else 7)
    device = choose_device(options.device)
    encoders = [
        load_encoder(name, audio_recipe=AUDIO_RECIPE, random_seed=0, size=options.size, device=device)
        for name in NAMES
    ]
    scorer = scorer_of(encoders, options.batch)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "noise.wav"
        noise = 0.1 * np.random.default_rng(0).standard_normal((crops * 10 * RATE_HZ, 2))
        write_audio(path, noise, RATE_HZ)
        ready = prepared(encoders, path, scorer.front.batch)
        requests = list_requests([str(path)])
        alone, scored = [], []  # [wall, CPU] seconds a crop, turn by turn
        for turn in range(turns + 1):
            times = {}
            # The first to run finds a colder cache: take turns at that too.
            for what in ("alone", "scored") if turn % 2 else ("scored", "alone"):
                started = time.perf_counter(), time.process_time()
                if what == "alone":
                    encoders_alone(encoders, ready)
                else:
                    (answer,) = scorer.stream(requests)
                    assert answer["seconds"] == 10 * crops
                ended = time.perf_counter(), time.process_time()
                times[what] = [(end - start) / crops for start, end in zip(started, ended, strict=True)]
            if turn:  # the first turn warms up
                alone.append(times["alone"])
                scored.append(times["scored"])
    ratios = np.array(scored) / np.array(alone)
    encoders_s, scoring_s = np.median(alone, axis=0), np.median(scored, axis=0)
    print(f"{crops} crops, {turns} turns, size {options.size}, {device}, {torch.get_num_threads()} threads")
    print(f"encoders alone {encoders_s[0]:.3f} s a crop ({encoders_s[1]:.3f} CPU), ", end="")
    print(f"scoring {scoring_s[0]:.3f} ({scoring_s[1]:.3f})")
    print("ratio of each turn (CPU): " + " ".join(f"{wall:.3f} ({cpu:.3f})" for wall, cpu in ratios))
    found = {
        "cost_over_encoders": np.median(ratios[:, 0]),
        "cost_over_encoders_cpu": np.median(ratios[:, 1]),
        "s_per_crop_encoders": encoders_s[0],
        "s_per_crop_scored": scoring_s[0],
    }
    print(json.dumps({name: round(float(value), 4) for name, value in found.items()}))


if __name__ == "__main__":
    main()

"""In place of audiobox_aesthetics: its calls from Python, and its command."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from mmmos import pipeline
from mmmos.audiobox import AesPredictor, initialize_predictor
from mmmos.store.console import OK, REFUSED, REJECTS
from tests.heads.scoring.published_audiobox import AXES, published

RATE_HZ = 16000


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return published(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def predictor(weights):
    return initialize_predictor(weights / "model.safetensors")


@pytest.fixture
def audio(tmp_path, monkeypatch):
    """a.wav of 5 s and b.wav of 44.1 kHz stereo in the current folder; the samples of a.wav."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    samples = 0.1 * rng.standard_normal(5 * RATE_HZ)
    soundfile.write("a.wav", samples, RATE_HZ, "FLOAT")
    soundfile.write("b.wav", 0.1 * rng.standard_normal((44100, 2)), 44100)
    return samples.astype(np.float32)


def test_a_dict_of_floats_a_row_in_the_order_of_the_rows(predictor, audio):
    rows = [{"path": "b.wav"}, {"path": "a.wav"}, {"path": "b.wav"}]
    found = predictor.forward(rows)
    assert [list(row) for row in found] == [list(AXES)] * 3
    assert found[0] == found[2] != found[1]
    assert isinstance(found[0]["CE"], float)


def test_a_tensor_is_scored_as_the_file_that_holds_it(predictor, audio):
    (file,) = predictor.forward([{"path": "a.wav"}])
    tensor = torch.from_numpy(audio)[None]
    assert predictor.forward([{"path": tensor, "sample_rate": RATE_HZ}]) == [file]
    assert predictor.forward([{"path": tensor.repeat(2, 1), "sample_rate": RATE_HZ}]) == [file]


def test_times_cut_and_an_end_beyond_the_end_is_the_end(predictor, audio):
    def scores(**times: float) -> dict[str, float]:
        return predictor.forward([{"path": "a.wav", **times}])[0]

    def part(start: int, end: int) -> dict[str, float]:
        return predictor.forward([{"path": audio[None, start:end], "sample_rate": RATE_HZ}])[0]

    assert scores(start_time=1, end_time=3) == part(RATE_HZ, 3 * RATE_HZ)
    assert scores(start_time=0.25, end_time=1.75) == part(4000, 28000)
    assert scores(start_time=4, end_time=99) == scores(start_time=4) == part(4 * RATE_HZ, 5 * RATE_HZ)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"path": "a.wav", "start_time": 2, "end_time": 2}, "row 2: a.wav: it ends at 2 s"),
        ({"path": "a.wav", "start_time": 7, "end_time": 8}, "row 2: a.wav: the piece from 7 s"),
        ({"path": "a.wav", "start_time": 1, "end_time": 1.00001}, "row 2: a.wav: there is no sample"),
        ({"path": "none.wav"}, "row 2: none.wav: no such file"),
        ({"file": "a.wav"}, "row 2: no key 'path', only file"),
        ({"path": torch.zeros(1, 8)}, "row 2: a waveform needs its 'sample_rate'"),
        ({"path": torch.zeros(1, 0), "sample_rate": RATE_HZ}, "row 2: .*n > 0"),
    ],
)
def test_what_cannot_be_scored_is_named(predictor, audio, row, reason):
    with pytest.raises(ValueError, match=reason):
        predictor.forward([{"path": "a.wav"}, row])


def test_another_key_may_hold_the_path(weights, audio):
    predictor = AesPredictor(weights, data_col="wav", device="cpu")
    assert len(predictor.forward([{"wav": "a.wav"}])) == 1


def command(monkeypatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["mmmos", "audio-aes", *words])
    with pytest.raises(SystemExit) as stop:
        pipeline.main()
    return int(stop.value.code or OK)


def test_the_command_prints_a_line_for_each_line(weights, predictor, audio, monkeypatch, capsys):
    rows = [{"path": "a.wav", "start_time": 0.5, "end_time": 99}, {"path": "b.wav"}, {"path": "b.wav"}]
    with Path("in.jsonl").open("w") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    assert command(monkeypatch, "in.jsonl", "--batch-size", "100", "--ckpt", str(weights)) == OK
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert printed == predictor.forward(rows)


def test_a_file_that_cannot_be_read_keeps_its_line(weights, audio, monkeypatch, capsys):
    with Path("in.jsonl").open("w") as file:
        file.write('{"path": "none.wav"}\n{"path": "a.wav"}\n')
    assert command(monkeypatch, "in.jsonl", "--ckpt", str(weights)) == REJECTS
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first == {"path": "none.wav", "error": "no such file"}
    assert list(second) == list(AXES)


@pytest.mark.parametrize("line", ['{"path": ', '{"path": "a.wav", "start_time": 3, "end_time": 1}', "[]"])
def test_a_line_that_means_nothing_refuses_the_list(weights, audio, monkeypatch, capsys, line):
    with Path("in.jsonl").open("w") as file:
        file.write(f'{{"path": "a.wav"}}\n{line}\n')
    assert command(monkeypatch, "in.jsonl", "--ckpt", str(weights)) == REFUSED
    assert capsys.readouterr().out == ""

"""A request is kept whole, and what it names is checked before anything is fetched."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from mmmos.extract.compute import Compute
from mmmos.extract.request import ExtractRequest, load_encoders

CPU = Compute("cpu")


@pytest.fixture
def request_(tmp_path: Path) -> ExtractRequest:
    return ExtractRequest(
        tmp_path / "clips.csv", tmp_path, encoders="logmel", scale="1,5", caveats=("made up",)
    )


def test_a_request_is_remembered_whole_but_for_what_changed(request_: ExtractRequest, tmp_path: Path) -> None:
    request_.remember(tmp_path / "work")
    assert ExtractRequest.last(tmp_path / "work", {}) == request_
    assert ExtractRequest.last(tmp_path / "work", {"seed": 7}) == replace(request_, seed=7)


def test_paths_are_remembered_wherever_the_next_command_runs(
    request_: ExtractRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    replace(request_, clips=Path("clips.csv"), audio_root=Path(), weights=Path("w")).remember(Path("work"))
    assert ExtractRequest.last(Path("work"), {}) == replace(request_, weights=tmp_path / "w")


def test_there_is_no_last_request_in_a_new_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no earlier extraction to go on with"):
        ExtractRequest.last(tmp_path, {})


@pytest.mark.parametrize("names", ["", " , ", "logmel,logmel", "logmel, logmel"])
def test_encoders_are_named_once_each(request_: ExtractRequest, names: str) -> None:
    with pytest.raises(ValueError, match="different names separated by commas"):
        load_encoders(replace(request_, encoders=names), CPU)


def test_an_unknown_encoder_is_refused_before_another_is_loaded(
    request_: ExtractRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmmos.extract.encoders.load_encoder", lambda *_, **__: pytest.fail("loaded"))
    with pytest.raises(ValueError, match=r"unknown encoder 'logmell'.*logmel"):
        load_encoders(replace(request_, encoders="logmel,logmell"), CPU)


def test_encoders_come_in_the_order_asked_for(request_: ExtractRequest) -> None:
    tiny = replace(request_, encoders="wavlm, logmel", random_weights=3, size="tiny", layers="last")
    found = [encoder.spec for encoder in load_encoders(tiny, CPU)]
    assert [(spec.name, spec.size, spec.layer) for spec in found] == [
        ("wavlm", "tiny", "last"),
        ("logmel", "full", "mean"),
    ]
    assert found[0].weights == "random:3"


def test_leave_to_run_remote_code_is_never_taken_from_a_work_folder(tmp_path: Path) -> None:
    request = ExtractRequest(tmp_path / "clips.csv", tmp_path, trust_remote_code=True)
    request.remember(tmp_path)
    assert not ExtractRequest.last(tmp_path, {}).trust_remote_code
    path = tmp_path / "extract.json"
    kept = {name: value for name, value in json.loads(path.read_text()).items() if name != "mmmos-seal"}
    path.write_text(json.dumps(kept | {"trust_remote_code": True}))
    with pytest.raises(ValueError, match="trust_remote_code is True"):
        ExtractRequest.last(tmp_path, {})


def test_a_kept_value_that_no_option_takes_is_told_with_its_file(tmp_path: Path) -> None:
    kept = {"clips": "c.csv", "audio_root": ".", "min_coverage": 7.0}
    (tmp_path / "extract.json").write_text(json.dumps(kept))
    with pytest.raises(ValueError, match=r"extract\.json: --min-coverage takes a part from 0 to 1, not 7"):
        ExtractRequest.last(tmp_path, {})

"""Beside a torchaudio and a torchvision that do not load, every encoder still can be made."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

from mmmos.extract.encoders import loadable
from tests.conftest import ROOT

FAILURES = {
    "torchaudio": "OSError('Could not load this library: _torchaudio.abi3.so')",
    "torchvision": "RuntimeError('operator torchvision::nms does not exist')",
}
"""What the index's builds raise beside a CPU build of torch."""


@pytest.mark.parametrize("before", ["", "import transformers"])
def test_packages_that_fail_to_load_do_not_stop_an_encoder(tmp_path, before):
    for name, failure in FAILURES.items():
        (tmp_path / f"{name}.py").write_text(f"raise {failure}\n")
    code = (
        f"{before}\n"
        "from mmmos.extract.encoders import ENCODERS, load_encoder\n"
        "for name in ENCODERS: load_encoder(name, random_seed=0, size='tiny', audio_recipe='test')\n"
    )
    search = os.pathsep.join([str(tmp_path), str(ROOT)])
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": search})


def test_only_what_fails_to_load_is_hidden(tmp_path, monkeypatch):
    sources = {
        "sound_package": "",
        "failing_package": "raise RuntimeError('built for CUDA 13.0')",
        "package_without_its_library": "import a_library_that_nobody_has",
    }
    for name, source in sources.items():
        (tmp_path / f"{name}.py").write_text(source)
        monkeypatch.setitem(sys.modules, name, None)  # so that its state is put back after the test
        del sys.modules[name]
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(loadable, "NOT_USED_HERE", (*sources, "absent_package"))
    loadable.hide_what_does_not_load()
    assert sys.modules["sound_package"].__name__ == "sound_package"
    assert find_spec("failing_package") is None
    assert find_spec("package_without_its_library") is None
    assert "absent_package" not in sys.modules

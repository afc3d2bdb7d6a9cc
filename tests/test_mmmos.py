"""The public names: short, complete, and loaded when they are used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import mmmos
from tests.conftest import ROOT


@pytest.mark.parametrize("name", mmmos.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(mmmos, name) is not None
    assert name in dir(mmmos)


def test_a_name_that_is_not_public_is_answered_with_those_that_are() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'load_bundles'; public names: .*load_bundle"):
        _ = mmmos.load_bundles


def test_importing_the_package_loads_none_of_its_layers() -> None:
    code = (
        "import sys, mmmos; loaded = {m.split('.')[0] for m in sys.modules};"
        "sys.exit(', '.join(sorted(loaded & {'torch', 'numpy', 'h5py'})) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

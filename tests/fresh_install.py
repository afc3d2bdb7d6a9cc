"""Is what pip installed complete?  Run by `make check-install` with the new environment's Python.

To be run with -P, because the folder of this file has a `mmmos` of its own.  Imports every module, then lets
the installed command take a second of noise through every encoder, tiny and untrained.  Needs nothing but the
package's own dependencies.
"""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import soundfile

OF_EXTRAS = {"mmmos.metrics": "torchmetrics"}
"""Modules that need a package of an extra, which is not installed here."""
VERSIONS = ("mmmos", "torch", "torchaudio", "torchvision", "transformers", "muq", "numpy", "scipy", "librosa")


def main() -> None:
    import mmmos

    print("Python", sys.version.split()[0], *(f"{name} {version_of(name)}" for name in VERSIONS), sep="\n")
    if "site-packages" not in (mmmos.__file__ or ""):
        sys.exit(f"mmmos came from {mmmos.__file__}, not from the environment that is to be checked")
    modules = [module.name for module in pkgutil.walk_packages(mmmos.__path__, "mmmos.")]
    for name in modules:
        try:
            importlib.import_module(name)
        except ImportError as error:
            if OF_EXTRAS.get(name, "\n") not in str(error):
                raise
            print(f"{name}: {error}")
    from mmmos.extract.encoders import ENCODERS
    from mmmos.store.features import list_stores

    hidden = [name for name in ("torchaudio", "torchvision") if sys.modules.get(name, ...) is None]
    print(f"{len(modules)} modules import; hidden, as they do not load: {', '.join(hidden) or 'none'}")
    with tempfile.TemporaryDirectory() as folder:
        noise = np.random.default_rng(0).normal(0, 0.1, 16000)
        soundfile.write(Path(folder) / "noise.wav", noise, 16000)
        (Path(folder) / "clips.csv").write_text("id,path,split\nnoise,noise.wav,test\n")
        command = [str(Path(sys.executable).with_name("mmmos")), "extract", "--clips", "clips.csv"]
        choices = ["--encoders", ",".join(ENCODERS), "--random-weights", "0", "--size", "tiny"]
        subprocess.run([*command, *choices], check=True, cwd=folder)
        stored = {store.spec.name for store in list_stores(Path(folder) / "work" / "features")}
    if stored != set(ENCODERS):
        sys.exit(f"encoded by {sorted(stored)}, not by {sorted(ENCODERS)}")
    print(f"{len(stored)} encoders encode: {', '.join(sorted(stored))}")


def version_of(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


if __name__ == "__main__":
    main()

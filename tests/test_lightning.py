"""The metric in the log of the real Lightning, by the lines that docs/harnesses.md gives."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("torchmetrics", reason="the extra `metrics` is not installed")
lightning = pytest.importorskip("lightning", reason="Lightning is not installed (pip install lightning)")

from lightning.pytorch.loggers import CSVLogger  # noqa: E402

from mmmos.extract.audio import AUDIO_RECIPE  # noqa: E402
from mmmos.extract.compute import Compute  # noqa: E402
from mmmos.extract.encoders import load_encoder  # noqa: E402
from mmmos.extract.front import Front  # noqa: E402
from mmmos.heads.scoring.scorer import Scorer  # noqa: E402
from mmmos.metrics import MMMOSMetric  # noqa: E402
from tests.conftest import ROOT  # noqa: E402
from tests.heads.scoring.made_bundle import made_bundle  # noqa: E402

RATE_HZ, CLIPS = 24000, 24


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    encoder = load_encoder("logmel", audio_recipe=AUDIO_RECIPE)
    return Scorer(made_bundle([encoder.spec]), Front([encoder], Compute(device="cpu")))


def documented(scorer: Scorer) -> dict[str, Any]:
    """The hooks that docs/harnesses.md gives, with this scorer for its bundle."""
    page = (ROOT / "docs" / "harnesses.md").read_text(encoding="utf-8")
    block = next(one for one in re.findall(r"```py\n(.*?)```", page, flags=re.S) if "def on_fit_start" in one)
    names: dict[str, Any] = {}
    exec(block, names)
    names["load_bundle"] = lambda path, device: scorer
    return {name: names[name] for name in re.findall(r"^def (\w+)", block, flags=re.M)}


class Model(lightning.LightningModule):  # type: ignore[misc,name-defined]
    """Something that generates audio: noise at a level that it learns."""

    def __init__(self) -> None:
        super().__init__()
        self.level = nn.Parameter(torch.tensor(0.1))

    def generate(self, batch: Tensor) -> Tensor:
        return self.level.detach() * batch

    def training_step(self, batch: Tensor, index: int) -> Tensor:
        return (self.level - 0.3).square()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def test_every_epochs_log_holds_means_and_intervals(scorer: Scorer, tmp_path: Path) -> None:
    noise = torch.randn(CLIPS, RATE_HZ // 4, generator=torch.Generator().manual_seed(0))
    batches = torch.utils.data.DataLoader(noise, batch_size=5)  # type: ignore[arg-type]
    model = type("Documented", (Model,), documented(scorer))()
    trainer = lightning.Trainer(
        max_epochs=2,
        accelerator="cpu",
        logger=CSVLogger(tmp_path, name="log", version=""),
        num_sanity_val_steps=1,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, batches, batches)
    with (tmp_path / "log" / "metrics.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row.get("PQ")]
    assert [row["epoch"] for row in rows] == ["0", "1"]
    alone = MMMOSMetric(scorer)
    alone.update(model.generate(noise), RATE_HZ)
    expected = {name: value.item() for name, value in alone.compute().items()}
    assert {name: float(rows[-1][name]) for name in expected} == pytest.approx(expected, abs=1e-4)
    assert float(rows[-1]["PQ_low"]) < float(rows[-1]["PQ"]) < float(rows[-1]["PQ_high"])
    saved = torch.load(trainer.checkpoint_callback.best_model_path, weights_only=True)
    assert list(saved["state_dict"]) == ["level"], "the scorer is no part of a checkpoint"

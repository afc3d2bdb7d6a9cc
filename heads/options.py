"""Options of the command line for what a head is trained with; None leaves the paper's value."""

from __future__ import annotations

from typing import Annotated

import typer

LearningRate = Annotated[float | None, typer.Option("--lr", help="Left out: the paper's 1e-4.")]
Epochs = Annotated[int | None, typer.Option(min=1, help="Left out: the paper's 10.")]
Patience = Annotated[
    int | None, typer.Option(min=1, help="Epochs without a better dev loss before stopping.")
]
BatchClips = Annotated[
    int | None, typer.Option("--batch", min=1, help="Left out: the paper's 32 (mlp) or 16 (blstm).")
]
Hidden = Annotated[int | None, typer.Option(min=1, help="Width of each axis' hidden layer; left out: 64.")]
Width = Annotated[int | None, typer.Option(min=1, help="Units per direction of a BLSTM; left out: 128.")]
Dropout = Annotated[float | None, typer.Option(min=0, max=0.99, help="Left out: none.")]
WeightDecay = Annotated[float | None, typer.Option(min=0, help="Left out: none.")]
FrameRate = Annotated[
    float | None, typer.Option("--frame-rate-hz", help="Common rate of frames: 6.25, 12.5 or 25.")
]
Precision = Annotated[str | None, typer.Option(help="fp32, or bf16 for the widest projection.")]
LayerRule = Annotated[
    str | None,
    typer.Option(
        metavar="RULE|ENCODER=RULE,...",
        help="Layers that heads on means read: mean, last, all, a number, or layermix, a learnt mix. By "
        "encoder as wavlm=layermix,muq=last. Left out: as stored.",
    ),
]
StopOn = Annotated[
    str | None, typer.Option(help="dev, or dev+pam: whose clips tell when training stops. Left out: dev.")
]
Tau = Annotated[
    float | None,
    typer.Option(min=0, help="Errors up to this, in deviations, are free in the loss ut. Left out: 0.5."),
]
TensorBoard = Annotated[
    bool,
    typer.Option(
        "--tensorboard", help="Write losses and metrics of training to WORK/tensorboard (needs tensorboard)."
    ),
]

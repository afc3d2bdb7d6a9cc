"""Training: it learns, repeats itself bit for bit, masks, stops, and says what it did."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mmmos.heads.config import HeadConfig
from mmmos.heads.grids import configure, grid
from mmmos.heads.metrics import srcc
from mmmos.heads.network.losses import LOSSES
from mmmos.heads.training import fit as training
from mmmos.heads.training.course import DivergedError, Epoch
from mmmos.heads.training.data import Features
from mmmos.heads.training.fit import epoch_batches, fit, fresh_head
from mmmos.heads.training.outputs import clip_outputs, predict
from mmmos.store.schema import AES_AXES, Scale
from tests.heads.small import M2D, MUQ, WAVLM, work_folder

SPECS = (WAVLM, MUQ, M2D)


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Features:
    return Features.open(work_folder(tmp_path_factory.mktemp("training"), count=72, ratings=True))


def config_of(
    features: Features, aggregator: str = "mlp", loss: str = "ut", **overrides: object
) -> HeadConfig:
    values = {"learning_rate": 3e-3, "batch": 16, "width": 8, "hidden": 16, **overrides}
    return configure(features.table.id, [s.id for s in SPECS], aggregator, loss, **values)


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_learns_what_is_there_on_the_labels_scale(features: Features, loss: str) -> None:
    head = fit(config_of(features, loss=loss, epochs=30, patience=30), features).head
    test = features.of("test")
    truth, scores = features.truth[test], predict(head, features, test)
    ranks = [srcc(scores[:, a], truth[:, a]) for a in range(4)]
    assert min(r for r in ranks if r is not None) > 0.5
    assert np.abs(scores.mean(0) - truth.mean(0)).max() < 1.0
    assert (np.abs(scores.std(0) / truth.std(0) - 1) < 0.6).all()


@pytest.mark.parametrize("loss", LOSSES)
def test_heads_whose_loss_leaves_the_level_free_are_calibrated_on_train(
    features: Features, loss: str
) -> None:
    head = fit(config_of(features, loss=loss, epochs=5), features).head
    assert bool((head.slope != 1).any()) == LOSSES[loss].calibrate
    if LOSSES[loss].calibrate:
        train = features.of("train")
        scores, truth = predict(head, features, train), features.truth[train]
        for axis in range(4):
            line = np.polyfit(scores[:, axis], truth[:, axis], 1)
            np.testing.assert_allclose(line, (1.0, 0.0), atol=1e-4)


@pytest.mark.parametrize("aggregator", ["mlp", "blstm_t", "attention"])
def test_same_seed_same_bits_whatever_the_threads_and_memory(features: Features, aggregator: str) -> None:
    config = config_of(features, aggregator, epochs=2, dropout=0.2)
    first = fit(config, features)
    torch.manual_seed(99)
    torch.rand(3)
    streamed = Features(features.table, features.stores.values(), limit_bytes=0)
    second = fit(config, streamed)
    for name, value in first.head.state_dict().items():
        assert torch.equal(value, second.head.state_dict()[name]), name
    assert first.curve == second.curve
    other = fit(replace(config, seed=1), features)
    assert other.curve != first.curve


def test_training_leaves_the_callers_random_numbers_alone(features: Features) -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    fit(config_of(features, epochs=1), features)
    assert torch.equal(torch.rand(1), expected)


def test_an_epoch_draws_one_stored_crop_of_each_clip(features: Features) -> None:
    clips = features.of("train")
    config = config_of(features)
    epochs = [np.concatenate(list(epoch_batches(features, clips, config, n))) for n in (1, 2)]
    for pairs in epochs:
        assert sorted(pairs[:, 0]) == sorted(clips)
        owner = np.searchsorted(features.first, pairs[:, 1], side="right") - 1
        assert np.array_equal(owner, pairs[:, 0])
    assert not np.array_equal(epochs[0], epochs[1])
    drawn = np.concatenate(
        [np.concatenate(list(epoch_batches(features, clips, config, n))) for n in range(40)]
    )
    assert set(drawn[:, 1]) == set(features.rows(clips))  # every crop gets its turn


def test_evaluation_weighs_crops_by_seconds(features: Features) -> None:
    head = fit(config_of(features, epochs=1), features).head
    clip = int(np.argmax(features.counts))
    rows = features.rows(np.array([clip]))
    each = head.scores(features.batch(head.specs, head.reading, rows)).numpy()
    weights = features.valid_s[rows].astype(float)
    assert len(set(weights)) > 1
    expected = (each * weights[:, None]).sum(0) / weights.sum()
    np.testing.assert_allclose(predict(head, features, np.array([clip]))[0], expected, atol=1e-5)
    together = predict(head, features, features.of("test"))
    alone = np.concatenate([predict(head, features, np.array([n])) for n in features.of("test")])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_target_statistics_are_those_of_train_alone(features: Features) -> None:
    head = fit(config_of(features, epochs=1), features).head
    train = features.truth[features.of("train")]
    np.testing.assert_allclose(head.target_mean.numpy(), train.mean(0))
    np.testing.assert_allclose(head.target_std.numpy(), train.std(0))


def test_an_unrated_axis_is_absent_and_a_sparse_one_is_masked(tmp_path: Path) -> None:
    features = Features.open(work_folder(tmp_path, count=36, axes=2, scale=Scale(0, 100)))
    fitted = fit(config_of(features, epochs=2), features)
    assert fitted.head.axes == ("CE", "CU")
    assert predict(fitted.head, features, features.of("test")).shape == (len(features.of("test")), 2)
    clips = list(features.table.clips)
    sparse = [
        replace(c, scores=(c.scores[0], None if n % 2 else c.scores[1], None, None))
        for n, c in enumerate(clips)
    ]
    again = Features(replace(features.table, clips=tuple(sparse)), features.stores.values())
    fitted = fit(config_of(again, epochs=2), again)
    assert all(np.isfinite(epoch.train_loss) for epoch in fitted.curve)
    unrated = [replace(c, scores=(None,) * 4) if c.split == "train" else c for c in clips]
    nothing = Features(replace(features.table, clips=tuple(unrated)), features.stores.values())
    with pytest.raises(ValueError, match="no clip of the train split is rated"):
        fit(config_of(nothing), nothing)


def test_stops_early_and_keeps_the_best(features: Features, monkeypatch: pytest.MonkeyPatch) -> None:
    losses = iter([1.0, 0.5, 0.7, 0.6, 0.1])
    monkeypatch.setattr(training, "_dev_losses", lambda *a: [torch.tensor(next(losses), dtype=torch.float64)])
    states: list[torch.Tensor] = []

    def watch(epoch: Epoch, head: torch.nn.Module) -> None:
        states.append(next(head.parameters()).detach().clone())

    fitted = fit(config_of(features, patience=2), features, on_epoch=watch)
    assert [epoch.dev_loss for epoch in fitted.curve] == [1.0, 0.5, 0.7, 0.6]
    assert fitted.best_epoch == 2
    assert torch.equal(next(fitted.head.parameters()), states[1])


def test_without_a_dev_split_every_epoch_runs_and_it_says_so(tmp_path: Path) -> None:
    features = Features.open(work_folder(tmp_path, count=36, splits=("train", "test")))
    fitted = fit(config_of(features, epochs=5, patience=1), features)
    assert len(fitted.curve) == fitted.best_epoch == 5
    assert fitted.notes == ("no dev split with ratings: every epoch was run and the last one kept",)


def test_without_single_ratings_the_listener_loss_says_so(features: Features, tmp_path: Path) -> None:
    assert fit(config_of(features, loss="listeners", epochs=1), features).notes == ()
    bare = Features.open(work_folder(tmp_path, count=24))
    notes = fit(config_of(bare, loss="listeners", epochs=1), bare).notes
    assert notes == ("no single ratings: mean scores stood for them",)


def test_a_run_that_explodes_fails_with_its_reason(features: Features) -> None:
    with pytest.raises(DivergedError, match=r"loss is .* after epoch .*; try a lower learning rate"):
        fit(config_of(features, loss="mse", learning_rate=1e6), features)


def test_the_dev_loss_is_that_of_whole_clips(features: Features) -> None:
    config = config_of(features, loss="ccc", epochs=1)
    fitted = fit(config, features)
    dev = features.of("dev")
    truth = (features.truth[dev] - fitted.head.target_mean.numpy()) / fitted.head.target_std.numpy()
    (outputs,) = clip_outputs([fitted.head], features, dev)
    expected = LOSSES["ccc"].function(outputs, torch.from_numpy(truth))
    assert fitted.curve[0].dev_loss == pytest.approx(expected.item(), abs=1e-6)


def test_pam_has_a_say_in_when_training_stops_where_it_is_asked_for(features: Features) -> None:
    config = config_of(features, loss="ccc", epochs=1, stop_on="dev+pam")
    fitted = fit(config, features)
    both = np.concatenate([features.of("dev"), features.of("pam")])
    truth = (features.truth[both] - fitted.head.target_mean.numpy()) / fitted.head.target_std.numpy()
    (outputs,) = clip_outputs([fitted.head], features, both)
    expected = LOSSES["ccc"].function(outputs, torch.from_numpy(truth))
    assert fitted.curve[0].dev_loss == pytest.approx(expected.item(), abs=1e-6)
    assert fitted.curve[0].dev_loss != fit(replace(config, stop_on="dev"), features).curve[0].dev_loss


def test_heads_of_the_release_learn_layer_weights_of_wavlm_alone(features: Features) -> None:
    (config,) = grid("release", SPECS, features.table.id, epochs=2, learning_rate=1e-2)
    head = fit(config, features).head
    of_wavlm, of_muq, of_m2d = head.aggregator.logits
    assert of_wavlm.shape[1] == WAVLM.layers
    assert of_wavlm.abs().max() > 0
    assert of_muq.shape[1] == of_m2d.shape[1] == 1


def test_one_step_equals_ordinary_adam_on_an_ordinary_model(features: Features) -> None:
    """Fused AdamW without decay is the paper's Adam: an ordinary loop gives the same head to 1e-5."""
    config = config_of(features, epochs=1, learning_rate=1e-4)
    fitted = fit(config, features)
    clips = features.of("train")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        head = fresh_head(config, features, clips)
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-4, foreach=False, fused=False)
    truth = torch.from_numpy(features.truth)
    for pairs in epoch_batches(features, clips, config, 1):
        loss = LOSSES["ut"].function(
            head(features.batch(head.specs, head.reading, pairs[:, 1])),
            ((truth[torch.from_numpy(pairs[:, 0])] - head.target_mean) / head.target_std).float(),
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for (name, ours), theirs in zip(fitted.head.named_parameters(), head.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0, msg=name)


def test_axes_follow_the_order_of_the_project(features: Features) -> None:
    assert fit(config_of(features, epochs=1), features).head.axes == AES_AXES.names

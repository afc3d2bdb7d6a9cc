"""Training: it learns, repeats itself bit for bit, masks, stops, and says what it did."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain, repeat
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
from mmmos.heads.training.fit import fit, fit_together, side_by_side
from mmmos.heads.training.outputs import Seen, clip_outputs, predict
from mmmos.heads.training.start import epoch_batches, fresh_head
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

    def watch(epoch: Epoch, head: torch.nn.Module, seen: Seen | None) -> None:
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


def grid_of(features: Features) -> list[HeadConfig]:
    """Heads of many kinds that draw the same batches: with dropout, fewer epochs, other encoders."""
    some = [
        config_of(features, "mlp", "ut", dropout=0.3, epochs=3),
        config_of(features, "blstm_t", "con", epochs=3),
        config_of(features, "blstm_h", "ccc", epochs=2),
        config_of(features, "layermix", "listeners", dropout=0.1, epochs=3),
        config_of(features, "mlp", "dcq", learning_rate=0.1, patience=1, epochs=9),
    ]
    return [*some, replace(some[0], encoders=(WAVLM.id, M2D.id))]


def test_a_head_comes_out_side_by_side_as_it_does_alone(features: Features) -> None:
    configs = grid_of(features)
    assert side_by_side(configs) == [configs]
    together = dict(fit_together(configs, features))
    for config in configs:
        alone, beside = fit(config, features), together[config]
        assert not isinstance(beside, Exception)
        assert (alone.best_epoch, alone.notes) == (beside.best_epoch, beside.notes)
        np.testing.assert_allclose(
            [(e.train_loss, e.dev_loss) for e in alone.curve],
            [(e.train_loss, e.dev_loss) for e in beside.curve],
            atol=1e-5,
        )
        for (name, one), other in zip(
            alone.head.state_dict().items(), beside.head.state_dict().values(), strict=True
        ):
            torch.testing.assert_close(one, other, atol=1e-5, rtol=0, msg=f"{config.title}: {name}")


def test_a_batch_is_read_once_for_all_that_are_side_by_side(
    features: Features, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[int] = []
    batch = Features.batch
    monkeypatch.setattr(Features, "batch", lambda *a: reads.append(len(a[3])) or batch(*a))
    counts = []
    configs = [config_of(features, loss=loss, epochs=1) for loss in ("ut", "ccc", "mse")]
    for some in (configs[:1], configs):
        reads.clear()
        assert len(list(fit_together(some, features))) == len(some)
        counts.append(len(reads))
    assert counts[0] == counts[1]


def test_heads_with_other_batches_or_in_closed_form_are_groups_of_their_own(features: Features) -> None:
    base = config_of(features)
    others = [replace(base, seed=1), replace(base, batch=8), replace(base, stop_on="dev+pam")]
    closed = [configure(features.table.id, [WAVLM.id], family) for family in ("ridge", "svr")]
    grouped = side_by_side([base, *others, *closed, replace(base, loss="ccc")])
    assert [len(group) for group in grouped] == [2, 1, 1, 1, 1, 1]


def test_one_that_cannot_be_trained_does_not_stop_those_beside_it(features: Features) -> None:
    bad = config_of(features, loss="mse", learning_rate=1e6)
    good, unknown = config_of(features, epochs=2), replace(bad, encoders=("wavlm-000000000000",))
    found = dict(fit_together([bad, good, unknown], features))
    assert isinstance(found[bad], DivergedError)
    assert "unknown features" in str(found[unknown])
    assert len(found[good].curve) == 2  # type: ignore[union-attr]


@pytest.mark.parametrize("fits", [4, 2, 1, 0])
def test_where_memory_does_not_suffice_half_of_the_heads_are_trained_at_a_time(
    features: Features, monkeypatch: pytest.MonkeyPatch, fits: int
) -> None:
    configs = [config_of(features, loss=loss, epochs=1) for loss in ("ut", "ccc", "mse", "huber")]
    expected = {config: fit(config, features).curve for config in configs}
    tried, gave_way = [], chain([True], repeat(False))
    train_epoch = training.train_epoch

    def tight(courses: list[object], *others: object) -> None:
        tried.append(len(courses))
        if len(courses) > fits:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        train_epoch(courses, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(training, "train_epoch", tight)
    monkeypatch.setattr(Features, "give_way", lambda _: next(gave_way))
    found = dict(fit_together(configs, features))
    if fits:
        assert {config: fitted.curve for config, fitted in found.items()} == expected  # type: ignore[union-attr]
        assert tried == {4: [4], 2: [4, 4, 2, 2], 1: [4, 4, 2, 1, 1, 2, 1, 1]}[fits]
    else:
        assert {str(reason) for reason in found.values()} == {
            "it does not fit into the memory of cpu: CUDA out of memory. Tried to allocate 2.00 GiB"
        }

"""The paper's claims, answered from its own printed table and from figures made up for one answer."""

from __future__ import annotations

import csv

import pytest

from mmmos.heads.grids import BI_ENC, TRI_ENC
from mmmos.heads.results.claims import CLAIMS, FALSE, OPEN, TRUE, Figures, answer, best_by
from mmmos.heads.results.printed import PRINTED_LEVELS, PRINTED_METRICS, TABLE_III, Place
from tests.conftest import shared

PRINTED = Figures(TABLE_III)


def test_the_printed_table_is_the_paper_s() -> None:
    rows = list(csv.DictReader(shared("data/paper_table3.csv").open()))
    assert len(rows) == len(TABLE_III) == 16
    for row in rows:
        cell = (tuple(row["encoders"].split("+")), row["aggregator"], row["loss"])
        for split in PRINTED_LEVELS:
            for metric in PRINTED_METRICS:
                assert TABLE_III[cell][Place(split, metric)] == float(row[f"{split}_{metric}"])


@pytest.mark.parametrize(
    ("claim", "verdict", "held", "n"),
    [
        ("MuQ always helps", FALSE, 7, 12),
        ("the top two on PAM stay the top two on the test", FALSE, 1, 4),
        ("PAM's order predicts the test's", TRUE, 1, 1),
        ("aggregators differ by less than 0.02", FALSE, 8, 12),
        ("ut is best on dev", FALSE, 2, 4),
        ("dcq and con are better on the test", FALSE, 6, 8),
        ("choosing by PAM beats choosing by dev", TRUE, 1, 1),
        ("MSE 20-30 % below the baseline, KTAU 4-5 % above", OPEN, 0, 0),
    ],
)
def test_what_the_printed_table_says_of_the_paper_s_claims(
    claim: str, verdict: str, held: int, n: int
) -> None:
    found = answer(claim, [PRINTED])
    assert (found.answer, found.held, found.n) == (verdict, held, n)
    assert len(found.failed) == n - held


def test_every_claim_has_its_expected_answer_above() -> None:
    (mark,) = test_what_the_printed_table_says_of_the_paper_s_claims.pytestmark  # type: ignore[attr-defined]
    assert [row[0] for row in mark.args[1]] == list(CLAIMS)


def two(without: float, with_muq: float) -> Figures:
    """SRCC on PAM of one pair of configurations that differ by MuQ."""
    place = Place("pam", "srcc")
    return Figures({(BI_ENC, "mlp", "ut"): {place: without}, (TRI_ENC, "mlp", "ut"): {place: with_muq}})


def test_seeds_that_disagree_leave_a_claim_open_and_one_that_all_refute_is_false() -> None:
    better, worse = two(0.8, 0.9), two(0.9, 0.8)
    assert answer("MuQ always helps", [better, better]).answer == TRUE
    assert answer("MuQ always helps", [better, worse]).answer == OPEN
    assert answer("MuQ always helps", [worse, worse]).answer == FALSE


def test_without_figures_no_claim_is_answered() -> None:
    assert {answer(claim, [Figures({})]).answer for claim in CLAIMS} == {OPEN}


def test_ensembles_and_the_baseline_are_compared_on_the_test() -> None:
    srcc, mse, ktau = (Place("test", name) for name in ("srcc", "mse", "ktau"))
    chosen = {"submitted": {srcc: 0.92, mse: 0.75, ktau: 0.83}, "dev top 8": {srcc: 0.91}}
    found = Figures({}, chosen, {mse: 1.0, ktau: 0.79})
    assert answer("choosing by PAM beats choosing by dev", [found]).answer == TRUE
    assert answer("MSE 20-30 % below the baseline, KTAU 4-5 % above", [found]).answer == TRUE
    less = Figures({}, chosen, {mse: 0.9, ktau: 0.79})
    assert answer("MSE 20-30 % below the baseline, KTAU 4-5 % above", [less]).failed == ("mse",)


def test_the_best_single_configuration_by_pam_is_compared_with_the_best_by_dev() -> None:
    """Of the printed table the best by PAM, with 0.921, has 0.919 on the test; by dev 0.849 and 0.872."""
    assert best_by(TABLE_III, "pam")[Place("test", "srcc")] == 0.919
    assert best_by(TABLE_III, "dev")[Place("test", "srcc")] == 0.872
    assert best_by({**TABLE_III, (TRI_ENC, "linear", "ut"): {}}, "pam") == {}


def test_a_shared_second_place_says_nothing_about_the_top_two() -> None:
    pam, test = Place("pam", "srcc"), Place("test", "srcc")
    cells = [(TRI_ENC, aggregator, "ut") for aggregator in ("mlp", "blstm_h", "blstm_t")]
    tied = Figures(
        {cell: {pam: value, test: value} for cell, value in zip(cells, (0.9, 0.8, 0.8), strict=True)}
    )
    assert answer("the top two on PAM stay the top two on the test", [tied]).n == 0

"""What is put into one row, into one table, and in which order."""

import csv
import io
import itertools
import json
import math
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gan_cli.config.read import config_of
from gan_cli.errors import UserError
from gan_cli.leaderboard.boards import Board, boards, method_labels
from gan_cli.leaderboard.notes import notes, separation
from gan_cli.leaderboard.results import gather
from gan_cli.leaderboard.statistics import Difference, Spread, spread
from gan_cli.leaderboard.tables import extent, shown, shown_difference, text_tables
from gan_cli.leaderboard.text_formats import comma_separated, latex, latex_cell, markdown, markdown_line
from gan_cli.sweep.sweep_folder import Job, SweepFolder
from gan_cli.text import markdown_cell

from .folders import PROTOCOL, make_run


def only_board(folder: Path, baseline: str | None = None) -> Board:
    (board,) = boards(gather([folder]), baseline)
    return board


def test_a_row_is_a_method_over_its_seeds(tmp_path: Path) -> None:
    for seed, fid in ((0, 1.0), (1, 2.0), (2, 6.0)):
        make_run(tmp_path, "objective=hinge", seed=seed, fid=fid)
        make_run(tmp_path, "objective=stdgan", seed=seed, fid=2 * fid)
    board = only_board(tmp_path)
    assert [row.method for row in board.rows] == ["hinge", "stdgan"]
    hinge = board.rows[0]
    assert hinge.last("fid_digits") == Spread(3, 3.0, math.sqrt(7), 1.0, 6.0)
    assert hinge.last("inception_score_digits_mean") == Spread(3, 6.0, 1.0, 5.0, 7.0)
    assert hinge.trajectory("fid_digits") == pytest.approx({"min": 3.0, "max": 12.0, "mean": 7.0, "std": 0.5})
    assert hinge.cost("seconds") == Spread(3, 4.0, 1.0, 3.0, 5.0)
    assert board.baseline is hinge  # the first that was run
    found = board.difference(board.rows[1])
    assert found is not None
    assert found.mean == 3.0
    assert found.interval == pytest.approx((-7.99, 13.99), abs=0.01)  # variances 7 and 28: 2.9 degrees of freedom
    assert any(note.startswith("Real against real") for note in notes(board))
    assert "fid_digits, cannot be told from hinge: stdgan (32 seeds needed)." in notes(board)
    assert any("too few seeds for any difference to show: it takes 4" in note for note in notes(board))
    assert text_tables(board)[0].header[4] == "Δ to hinge"
    assert text_tables(board)[0].last == ["real against real", "-", "0.25", "-", "-", "-", "-"]
    assert r"$\Delta$ to hinge" in latex([board])
    said = text_tables(board)[0]
    assert said.rows[0][:4] == ["hinge", "3", "3.0 ± 2.6", "1.0 to 6.0"]
    assert said.rows[1][:5] == ["stdgan", "3", "6.0 ± 5.3", "2.0 to 12.0", "+3 (-8 to +14)"]


@pytest.mark.parametrize(
    ("values", "score", "range_"),
    [
        ((38.1896, 38.19, 38.1902), "38.190 ± <0.001", "38.190"),
        ((1.0, 1.0 + 9.2e-6, 1.0), "1.0000 ± <0.0001", "1.0000"),
        ((2.0, 2.0), "2 ± 0", "2"),
        ((2.0,), "2", "2"),
        ((2838.0, 3338.0, 3088.0), "3,090 ± 250", "2,840 to 3,340"),
        ((-0.0001, 0.0035, -0.00025), "0.0010 ± 0.0021", "-0.0003 to 0.0035"),
        ((0.142, 0.152, 0.15), "0.1480 ± 0.0053", "0.1420 to 0.1520"),
        ((2e-6, 4e-6), "0.000003 ± 0.00000141", "0.000002 to 0.000004"),
        ((3e12, 5e12), "4e+12 ± 1.41e+12", "3e+12 to 5e+12"),
    ],
)
def test_a_number_has_the_digits_that_its_uncertainty_justifies(
    values: tuple[float, ...], score: str, range_: str
) -> None:
    assert (shown(spread(values)), extent(spread(values))) == (score, range_)


TOLD = Difference(
    mean=0.0,
    interval=None,
    n=3,
    paired=False,
    p=1.0,
    p_equivalent=None,
    margin=None,
    detectable=None,
    seeds=None,
    verdict="cannot tell",
)


def test_a_difference_has_the_digits_of_its_interval() -> None:
    def said(mean: float, interval: tuple[float, float] | None) -> str:
        return shown_difference(replace(TOLD, mean=mean, interval=interval))

    assert said(0.00286, (-0.0142, 0.0348)) == "+0.003 (-0.014 to +0.035)"
    assert said(-4.15, None) == "-4.15"
    assert said(0.5, (0.5, 0.5)) == "+0.5 (+0.5)"


def test_sampling_and_training_are_told_apart_where_evaluations_were_repeated(tmp_path: Path) -> None:
    plain = make_run(tmp_path / "plain", "objective=hinge", fid=1.0)
    assert not any("σ" in name for table in text_tables(only_board(plain)) for name in table.header)
    for seed, scores in ((0, [0.0, 1.0]), (1, [2.0, 5.0])):
        for objective in ("hinge", "stdgan"):
            run = make_run(
                tmp_path / "runs",
                f"objective={objective}",
                "num_evaluation_seeds=2",
                seed=seed,
                fid=sum(scores) / 2,
                protocol=PROTOCOL | {"num_evaluation_seeds": 2},
            )
            summary = json.loads((run / "summary.json").read_text())
            summary["metrics"]["repeats"] = {"last": {"fid_digits": scores}, "best": {}}
            (run / "summary.json").write_text(json.dumps(summary))
    board = only_board(tmp_path / "runs")
    told = text_tables(board)[1]
    assert told.header[-3:] == ["CV", "σ train", "σ sample"]
    assert told.rows[0][-3:] == ["110 %", "1.8", "1.58"]  # means 0.5 and 3.5; the roots of 13/4 and 5/2
    cells = next(csv.DictReader(io.StringIO(comma_separated(board))))
    assert float(cells["fid_digits_sigma_sample"]) == pytest.approx(math.sqrt(2.5))
    assert float(cells["fid_digits_sigma_train"]) == pytest.approx(math.sqrt(3.25))
    assert "inception_score_digits_mean_sigma_train" not in cells
    assert any(note.startswith("Each score is a mean over evaluation seeds.") for note in notes(board))


def test_runs_of_before_there_were_several_evaluation_seeds_are_of_the_same_method(tmp_path: Path) -> None:
    make_run(tmp_path, "objective=hinge", seed=0)
    run = make_run(tmp_path, "objective=hinge", seed=1)
    summary = json.loads((run / "summary.json").read_text())
    del summary["config"]["num_evaluation_seeds"]
    (run / "summary.json").write_text(json.dumps(summary))
    assert [len(row.results) for row in only_board(tmp_path).rows] == [2]


def test_costs_on_different_hardware_are_not_averaged(tmp_path: Path) -> None:
    def on(machine: dict[str, Any], seed: int, objective: str) -> None:
        run = make_run(tmp_path, f"objective={objective}", seed=seed)
        summary = json.loads((run / "summary.json").read_text())
        (run / "summary.json").write_text(json.dumps(summary | {"hardware": machine}))

    slow, fast = {"cpu": "EPYC", "gpu": None, "threads": 2}, {"cpu": "EPYC", "gpu": "H100", "threads": 8}
    on(slow, 0, "hinge")
    on(slow, 1, "hinge")
    on(slow, 0, "lsgan")
    board = only_board(tmp_path)
    cost = text_tables(board)[-1]
    assert "hardware" not in cost.header
    assert not any("hardware" in note for note in notes(board))
    on(fast, 1, "lsgan")
    board = only_board(tmp_path)
    cost = text_tables(board)[-1]
    cells = {row[0]: dict(zip(cost.header, row, strict=True)) for row in cost.rows}
    assert cells["hinge"]["seconds"] == "3.50 ± 0.71"
    assert cells["lsgan"]["seconds"] == cells["lsgan"]["images/s"] == "mixed hardware"
    assert cells["lsgan"]["hardware"] == "EPYC, 2 threads / H100, EPYC, 8 threads"
    assert cells["lsgan"]["images seen"] == "120"
    assert (
        "lsgan ran on mixed hardware, so its costs are not averaged: seconds 3 on EPYC, 2 threads; 4 on H100, EPYC, "
        in (markdown([board]))
    )
    run = make_run(tmp_path, "objective=wgan")
    summary = json.loads((run / "summary.json").read_text())
    sessions = [{"started": "", "step": 0, "steps": 30, "hardware": one, "git": None} for one in (slow, fast, slow)]
    (run / "summary.json").write_text(json.dumps(summary | {"sessions": sessions}))
    board = only_board(tmp_path)
    assert "EPYC, 2 threads, then H100, EPYC, 8 threads: wgan." in markdown([board])  # one run on two machines
    written = {row["method"]: row for row in csv.DictReader(io.StringIO(comma_separated(board)))}
    assert (written["hinge"]["seconds_mean"], written["lsgan"]["seconds_mean"]) == ("3.5", "")


def test_scoring_has_a_column(tmp_path: Path) -> None:
    run = make_run(tmp_path, "objective=hinge")
    summary = json.loads((run / "summary.json").read_text())
    summary["cost"]["scoring_seconds"] = 7.5
    (run / "summary.json").write_text(json.dumps(summary))
    cost = text_tables(only_board(tmp_path))[-1]
    assert dict(zip(cost.header, cost.rows[0], strict=True))["scoring seconds"] == "7.5"


def test_tables_fit_110_letters_or_say_what_they_leave_out(tmp_path: Path) -> None:
    for seed, fid in ((0, 1.0), (1, 2.0)):
        for objective in ("hinge", "fgan", "relativistic"):
            make_run(tmp_path, f"objective={objective}", "batch_size=8", seed=seed, fid=fid)
    board = only_board(tmp_path)
    written = markdown([board])
    rows = [line for line in written.splitlines() if line.startswith("|")]
    assert max(map(len, rows)) <= 110
    left = [line for line in written.splitlines() if line.startswith("Left out here, in the CSV file: ")]
    for text in text_tables(board):
        missing = [name for name in text.header[1:] if f" {name} |" not in written]
        assert all(any(name in line for line in left) for name in missing)
    assert any("updates of D" in line for line in left)
    make_run(tmp_path, "objective=lsgan", "batch_size=8", spelt=[f"objective={'long' * 20}"])
    longer = [line for line in markdown([only_board(tmp_path)]).splitlines() if line.startswith("|")]
    assert all(len(line) <= 110 or "longlong" in line for line in longer)
    assert any("fid_digits" in line for line in longer)


def test_the_score_against_held_out_images_is_beside_the_leading_one(tmp_path: Path) -> None:
    summary = make_run(tmp_path, "objective=hinge", fid=2.0) / "summary.json"
    content = json.loads(summary.read_text())
    content["metrics"]["last"] |= {"inception_score_digits_mean": 5.0, "fid_digits_held_out": 3.0}
    summary.write_text(json.dumps(content))
    board = only_board(tmp_path)
    assert board.metrics[:2] == ["fid_digits", "fid_digits_held_out"]
    assert "fid_digits_held_out" in markdown([board]).split("**Best")[0].splitlines()[4]


def quoted(folder: Path, run: Path, published: dict[str, float], source: str = "a paper") -> None:
    """Enters a run in the folder's sweep.json, with the published scores of its row."""
    summary = json.loads((run / "summary.json").read_text())
    job = Job(run.name, summary["overrides"], summary["config"], published, source)
    SweepFolder(folder).add([job])
    SweepFolder(folder).quote([job])


def test_published_scores_stand_beside_the_leading_metric(tmp_path: Path) -> None:
    quoted(tmp_path, make_run(tmp_path, "objective=hinge"), {"fid": 26.763, "inception_score_mean": 8.1})
    quoted(tmp_path, make_run(tmp_path, "objective=hinge", seed=1), {"fid": 26.763})
    quoted(tmp_path, make_run(tmp_path, "objective=stdgan", fid=2.0), {})
    board = only_board(tmp_path)
    first, *others = text_tables(board)
    assert first.header[2:5] == ["fid_digits ↓", "published fid", "published inception_score_mean"]
    assert [row[3:5] for row in first.rows] == [["26.763", "8.1"], ["-", "-"]]
    assert not any("published" in name for table in others for name in table.header)
    (note,) = (note for note in notes(board) if "Published" in note)
    assert note.startswith("Published numbers were measured elsewhere (a paper), by other code")
    written = list(csv.DictReader(io.StringIO(comma_separated(board))))
    assert [row["published_fid"] for row in written] == ["26.763", ""]
    assert "published fid" in markdown([board])
    assert r"published inception\_score\_mean" in latex([board])


def test_without_published_scores_nothing_is_said_of_them(tmp_path: Path) -> None:
    quoted(tmp_path, make_run(tmp_path, "objective=hinge"), {})
    board = only_board(tmp_path)
    assert "ublished" not in markdown([board]) + latex([board]) + comma_separated(board)


def test_published_scores_are_shown_though_nothing_could_be_scored_here(tmp_path: Path) -> None:
    quoted(tmp_path, make_run(tmp_path, "objective=hinge", fid=None), {"fid": 3.0})
    first, *_ = text_tables(only_board(tmp_path))
    assert (first.header, first.rows) == (["method", "runs", "published fid"], [["hinge", "1", "3"]])


def test_settings_that_cannot_change_a_score_make_no_method(tmp_path: Path) -> None:
    make_run(tmp_path, "log_every=1", seed=0)
    make_run(tmp_path, "log_every=2", "checkpoint_every=7", "ema_snapshots_every=5", seed=1)
    assert [len(row.results) for row in only_board(tmp_path).rows] == [2]


def test_lost_runs_are_counted_and_their_method_comes_last(tmp_path: Path) -> None:
    for seed in range(2):
        make_run(tmp_path, "objective=hinge", seed=seed, fid=9.0)
        make_run(tmp_path, "objective=lsgan", seed=seed, fid=1.0, status=("completed", "diverged")[seed])
        make_run(tmp_path, "objective=wgan", seed=seed, fid=math.nan if seed else 2.0)
        make_run(tmp_path, "objective=stdgan", seed=seed, fid=0.1, status="failed")
    board = only_board(tmp_path)
    assert [row.method for row in board.rows] == ["wgan", "hinge", "lsgan", "stdgan"]
    wgan, _, lsgan, stdgan = board.rows
    assert lsgan.lost == {"diverged": 1}
    assert lsgan.last("fid_digits") == Spread(1, 1.0, None, 1.0, 1.0)  # the one that diverged had 1.0 on its way, too
    assert stdgan.lost == {"failed": 2}
    assert stdgan.last("fid_digits") is None
    assert wgan.last("fid_digits") == Spread(1, 2.0, None, 2.0, 2.0)
    shown = [row[1] for row in text_tables(board)[0].rows]
    assert shown == ["2", "2", "1 of 2 (1 diverged)", "0 of 2 (2 failed)"]
    assert any("Not all runs of lsgan, stdgan have a result" in note for note in notes(board))
    table = comma_separated(board)
    assert "nan" not in table.lower()


def test_protocols_never_share_a_table(tmp_path: Path) -> None:
    make_run(tmp_path, "objective=hinge")
    make_run(tmp_path, "objective=stdgan")
    make_run(tmp_path, "objective=lsgan", protocol=PROTOCOL | {"num_fake": 7})
    found = boards(gather([tmp_path]), None)
    assert [[row.method for row in board.rows] for board in found] == [["hinge", "stdgan"], ["lsgan"]]
    assert separation(found) == (
        "2 tables: their scores do not compare, because they have different num_fake (100 / 7)."
    )
    written = markdown(found)
    assert written.index("num_fake (100 / 7)") < written.index("## Protocol 1") < written.index("## Protocol 2")
    assert written.index("| hinge ") < written.index("## Protocol 2") < written.index("| lsgan ")


FOLDER = ["dataset=image_folder", "dataset.image_size=16", "model=dcgan"]


def test_images_are_told_apart_by_their_digest_not_by_their_place(tmp_path: Path) -> None:
    """The same images in two places share a table and a row, others in the same place do not."""
    one, other = (PROTOCOL | {"images_sha256": digit * 64} for digit in "ab")
    make_run(tmp_path, *FOLDER, "objective=hinge", "dataset.root=here", protocol=one)
    make_run(tmp_path, *FOLDER, "objective=hinge", "dataset.root=there", seed=1, protocol=one)
    make_run(tmp_path, *FOLDER, "objective=stdgan", "dataset.root=there", protocol=one)
    make_run(tmp_path, *FOLDER, "objective=hinge", "dataset.root=here", protocol=other)
    found = boards(gather([tmp_path]), None)
    assert [[(row.method, len(row.results)) for row in board.rows] for board in found] == [
        [("hinge", 2), ("stdgan", 1)],
        [("hinge", 1)],
    ]
    assert "images_sha256 (aaaaaaaa / bbbbbbbb), root (here, there / here)" in separation(found)
    assert "root" not in only_board(tmp_path / "run-0").protocol


def test_runs_of_a_version_without_digests_have_a_table_of_their_own(tmp_path: Path) -> None:
    make_run(tmp_path, *FOLDER, "dataset.root=here")
    make_run(tmp_path, *FOLDER, "dataset.root=here", protocol=PROTOCOL | {"images_sha256": "a" * 64})
    assert len(boards(gather([tmp_path]), None)) == 2


def test_runs_without_a_protocol_go_by_their_data_and_are_no_baseline(tmp_path: Path) -> None:
    """They ended before their data was read: three of data that others scored on, one of data that nobody did."""
    started = {
        "hinge-0": ["dataset=digits", "objective=hinge"],
        "hinge-1": [*FOLDER, "dataset.root=here", "objective=hinge"],
        "lsgan-2": ["dataset=digits", "objective=lsgan"],
        "lsgan-3": ["dataset=ring", "model=mlp", "objective=lsgan"],
    }
    folder = SweepFolder(tmp_path)
    folder.add(Job(name, overrides, config_of(overrides)) for name, overrides in started.items())
    for name in started:
        folder.ended(name, 1, "no luck")
    make_run(tmp_path, *FOLDER, "dataset.root=here", protocol=PROTOCOL | {"dataset": "image_folder"})
    for objective, fid in (("stdgan", 2.0), ("wgan", 3.0)):
        make_run(tmp_path, "dataset=digits", f"objective={objective}", fid=fid)
    found = {board.protocol["dataset"]: board for board in boards(gather([tmp_path]), None)}
    assert {name: {row.results[0].name for row in board.rows if row.lost} for name, board in found.items()} == {
        "digits": {"hinge-0", "lsgan-2"},
        "image_folder": {"hinge-1"},
        "ring": {"lsgan-3"},
    }
    digits = found["digits"]
    assert digits.baseline.completed
    assert digits.baseline.last("fid_digits") == Spread(1, 2.0, None, 2.0, 2.0)
    assert [difference.mean for difference in digits.differences.values()] == [1.0]


def test_the_sampler_is_part_of_the_method_not_of_the_protocol(tmp_path: Path) -> None:
    make_run(tmp_path, "latent_sampler=gaussian")
    make_run(tmp_path, "experiment=advlat_qua_plus")
    board = only_board(tmp_path)
    assert {row.latent_sampler for row in board.rows} == {"Gaussian", "AdvLatZ(AdvLatQua(Gaussian))"}


def test_what_a_metric_means_is_what_its_scorer_said(tmp_path: Path) -> None:
    """Not what its name looks like: here a high fid_digits is better, and the other metric leads."""
    odd: dict[str, Any] = {"leading": "inception_score_digits_mean", "headlines": ["inception_score_digits_mean"]}
    odd |= {"directions": {"fid_digits": "higher", "inception_score_digits_mean": "lower"}}
    make_run(tmp_path, "objective=hinge", seed=1, fid=1.0, meaning=odd)
    make_run(tmp_path, "objective=stdgan", seed=0, fid=2.0, meaning=odd)
    board = only_board(tmp_path)
    assert board.leading == "inception_score_digits_mean"
    assert [row.method for row in board.rows] == ["stdgan", "hinge"]  # 5 and 6: lower is better
    header = text_tables(board)[0].header
    assert [name for name in header if "↑" in name or "↓" in name] == ["inception_score_digits ↓", "fid_digits ↑"]
    assert header.count("min to max") == 1
    assert text_tables(board)[2].header[:3] == ["method", "best inception_score_digits ↓", "min"]


def test_a_table_shows_scores_that_only_some_runs_have(tmp_path: Path) -> None:
    """As those of labels; headlines come first, whatever the order of the scores."""
    make_run(tmp_path, "objective=hinge", fid=1.0)
    labelled = make_run(tmp_path, "objective=stdgan", fid=2.0) / "summary.json"
    summary = json.loads(labelled.read_text())
    summary["metrics"]["last"] |= {"class_fid_digits": 7.0, "cas_mean": 0.5}
    summary["metrics"]["headlines"] = ["fid_digits", "cas_mean"]
    summary["metrics"]["directions"] |= {"class_fid_digits": "lower", "cas_mean": "higher"}
    labelled.write_text(json.dumps(summary))
    board = only_board(tmp_path)
    assert board.metrics == ["fid_digits", "inception_score_digits_mean", "cas_mean", "class_fid_digits"]
    table = text_tables(board)[0]
    for score, cells in {"class_fid_digits ↓": ["-", "7"], "cas ↑": ["-", "0.5"]}.items():
        assert [row[table.header.index(score)] for row in table.rows] == cells


@pytest.mark.parametrize(
    ("lower", "arrow", "first"), [(True, "fid_digits ↓", "hinge"), (False, "fid_digits ↑", "stdgan")]
)
def test_runs_of_earlier_versions_tell_the_leading_metrics_direction(
    lower: bool, arrow: str, first: str, tmp_path: Path
) -> None:
    before = {"leading": "fid_digits", "lower_is_better": lower}
    make_run(tmp_path, "objective=hinge", fid=1.0, meaning=before)
    make_run(tmp_path, "objective=stdgan", fid=2.0, meaning=before)
    board = only_board(tmp_path)
    assert board.rows[0].method == first
    header = text_tables(board)[0].header
    assert arrow in header
    assert "inception_score_digits" in header  # which way it is better they did not say
    make_run(tmp_path, "objective=lsgan", fid=3.0)
    assert "inception_score_digits ↑" in text_tables(only_board(tmp_path))[0].header


def test_labels_say_what_differs(tmp_path: Path) -> None:
    make_run(tmp_path, "objective=fgan", "objective.divergence=pearson", "batch_size=8")
    make_run(tmp_path, "objective=fgan", "objective.divergence=kl", "batch_size=8")
    make_run(tmp_path, "objective=stdgan", "batch_size=8")
    assert {row.method for row in only_board(tmp_path).rows} == {
        "fgan divergence=pearson",
        "fgan divergence=kl",
        "stdgan",
    }


def test_the_same_setting_of_both_players_makes_four_names(tmp_path: Path) -> None:
    for one, other in itertools.product(("0.001", "0.0001"), repeat=2):
        make_run(tmp_path, f"generator_optimizer.lr={one}", f"discriminator_optimizer.lr={other}")
    assert {row.method for row in only_board(tmp_path).rows} == {
        f"generator_optimizer.lr={one} discriminator_optimizer.lr={other}"
        for one, other in itertools.product(("0.001", "0.0001"), repeat=2)
    }


def test_labels_that_do_not_tell_apart_get_the_keys_that_do(tmp_path: Path) -> None:
    make_run(tmp_path, "objective=hinge", "batch_size=8", spelt=["objective=hinge"])
    make_run(tmp_path, "objective=hinge", "batch_size=16", spelt=["objective=hinge"])
    assert {row.method for row in only_board(tmp_path).rows} == {"hinge (batch_size=8)", "hinge (batch_size=16)"}


def test_runs_without_overrides_are_named_by_their_objective(tmp_path: Path) -> None:
    make_run(tmp_path, spelt=[])
    make_run(tmp_path, "objective=lsgan")
    assert {row.method for row in only_board(tmp_path).rows} == {"StdGAN", "lsgan"}


def test_unequal_budgets_are_told(tmp_path: Path) -> None:
    make_run(tmp_path, "objective=hinge")
    run = make_run(tmp_path, "objective=stdgan")
    assert not any("budgets" in note for note in notes(only_board(tmp_path)))
    text = (run / "summary.json").read_text().replace('"images_seen": 120', '"images_seen": 240')
    (run / "summary.json").write_text(text)
    assert any("images seen 120 to 240" in note for note in notes(only_board(tmp_path)))


def test_the_same_run_twice_counts_once(tmp_path: Path) -> None:
    make_run(tmp_path / "a", "objective=hinge", fid=1.0, status="failed")
    make_run(tmp_path / "b", "objective=hinge", fid=1.0)
    with pytest.warns(UserWarning, match="the same run twice"):
        found = gather([tmp_path / "a", tmp_path / "b"])
    assert [result.state for result in found] == ["completed"]


def test_a_baseline_is_chosen_or_refused(tmp_path: Path) -> None:
    make_run(tmp_path, "objective=hinge", fid=1.0)
    make_run(tmp_path, "objective=stdgan", fid=3.0)
    board = only_board(tmp_path, "stdgan")
    found = board.difference(board.rows[0])
    assert found is not None
    assert found.mean == -2.0
    assert board.difference(board.baseline) is None
    with pytest.raises(UserError, match="baseline=sdtgan is not a method here: choose one of hinge, stdgan"):
        boards(gather([tmp_path]), "sdtgan")


def test_folders_without_runs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no runs in"):
        gather([tmp_path])
    with pytest.raises(UserError, match="is not a folder"):
        gather([tmp_path / "missing"])


def test_runs_that_never_scored_have_a_table_too(tmp_path: Path) -> None:
    make_run(tmp_path, "objective=hinge", fid=None)
    board = only_board(tmp_path)
    assert board.leading is None
    assert [table.title for table in text_tables(board)][-1] == "Cost of a run"
    assert "hinge" in latex([board])
    assert "hinge" in comma_separated(board)


def test_what_differs_is_every_key_and_no_other(tmp_path: Path) -> None:
    make_run(tmp_path, "objective=hinge")
    make_run(tmp_path, "objective=fgan")
    differing = only_board(tmp_path).differing()
    assert set(differing) == {
        "objective._target_",
        "objective.divergence",
        "objective.saturating",
        "objective.alpha",
        "objective.pi",
    }
    assert set(differing["objective.divergence"]) == {None, "kl"}


def test_nothing_in_a_cell_is_markup() -> None:
    assert markdown_cell("<b>a|b</b> *c* `d`\n[e](f)") == r"&lt;b&gt;a\|b&lt;/b&gt; \*c\* \`d\` \[e\](f)"
    assert markdown_cell("fid_digits") == "fid_digits"
    assert latex_cell("a_b & 50% $x$ #1 {~^\\} ± ↓") == (
        r"a\_b \& 50\% \$x\$ \#1 \{\textasciitilde{}\textasciicircum{}\textbackslash{}\} $\pm$ $\downarrow$"
    )
    assert latex_cell("[2em]\n*") == "{[}2em{]} {*}"  # after \\ they would be arguments of it


MARKDOWN = [
    "# heading",
    "- item",
    "+ item",
    "1. item",
    "2) item",
    "---",
    "===",
    "> quotation",
    "<b>bold</b> <!-- gone -->",
    "&lt; &copy;",
    "![x](y) [x](y) [x]: y",
    "<http://example.org>",
    "*a* **a** _a_ __a__ ~~a~~ `a` ``a``",
    "a\\*b*",
    "| a | b |",
    "    code",
    "~~~",
    "```",
]


@pytest.mark.parametrize("text", MARKDOWN)
def test_markdown_shows_any_text_as_it_is(text: str) -> None:
    """Parsed by another's parser, in a list and in a table."""
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    listed = parser.parse(f"- {markdown_line(text)}\n")
    assert [token.type for token in listed] == [
        "bullet_list_open",
        "list_item_open",
        "paragraph_open",
        "inline",
        "paragraph_close",
        "list_item_close",
        "bullet_list_close",
    ]
    tabled = parser.parse(f"| a | b |\n| --- | --- |\n| {markdown_cell(text)} | c |\n")
    cells = [token for token in tabled if token.type == "inline"]
    assert len(cells) == 4
    for inline in (listed[3], cells[2]):
        kinds = {token.type for token in inline.children or []}
        assert kinds <= {"text", "text_special"}
        assert "".join(token.content for token in inline.children or []) == " ".join(text.split())


def test_addresses_and_formulas_are_no_links_on_github() -> None:
    assert markdown_cell("https://a.b www.a.b a@b.c $x$") == r"https\://a.b www\.a.b a\@b.c \$x\$"


def test_no_cell_of_the_csv_is_a_formula(tmp_path: Path) -> None:
    for number, text in enumerate(("=1+1", "+1", "-1", "@x", "\t=1", "\uff1d1")):
        make_run(tmp_path, f"batch_size={8 + number}", spelt=[f"objective={text}"], fid=-1.0)
    board = only_board(tmp_path)
    written = list(csv.reader(io.StringIO(comma_separated(board))))
    assert {row[0] for row in written[1:]} == {"'=1+1", "'+1", "'-1", "'@x", "' =1", "'\uff1d1"} | {
        row[0] for row in written[1:] if "batch_size" in row[0]
    }
    assert all(re.match(r"[\w']|-?\d|$", cell) for row in written for cell in row)
    assert "-1.0" in written[1]  # a number stays one


def test_comments_of_latex_are_one_line(tmp_path: Path) -> None:
    text = "a\n\\input{x}\r\x0b\x85\u2028\\write18{y} %"
    make_run(tmp_path, "objective=hinge", protocol={text: text})
    make_run(tmp_path, "objective=stdgan")
    written = latex(boards(gather([tmp_path]), None))
    assert "\\input" not in written
    assert "\\write" not in written
    assert all(line.startswith(("%", "\\")) or line.endswith("\\\\") for line in written.splitlines())


def test_text_from_files_moves_no_cursor_and_turns_no_line(tmp_path: Path) -> None:
    odd = "\x1b[31m\u202ered\x07"
    run = make_run(tmp_path, "objective=hinge", spelt=[f"objective={odd}"], protocol={odd: odd})
    summary = json.loads((run / "summary.json").read_text())
    summary["config"]["objective"][odd] = odd
    summary["error"] = odd
    (run / "summary.json").write_text(json.dumps(summary))
    make_run(tmp_path, "objective=stdgan", protocol={odd: odd})
    (result, _) = gather([tmp_path])
    board = only_board(tmp_path)
    texts = [markdown([board]), latex([board]), comma_separated(board), result.error, str(board.differing())]
    for text in texts:
        assert all(letter.isprintable() or letter == "\n" for letter in text)
        assert "x1b" in text


def test_the_same_seed_twice_counts_once(tmp_path: Path) -> None:
    make_run(tmp_path, "objective=hinge", "log_every=1", fid=1.0)
    make_run(tmp_path, "objective=hinge", "log_every=2", fid=1.0)
    with pytest.warns(UserWarning, match="the same run twice, counted once: .*run-0 and .*run-1"):
        (result,) = gather([tmp_path])
    assert result.name == "run-0"


def test_names_of_many_methods_are_found_in_linear_time_and_differ(tmp_path: Path) -> None:
    """1,000 methods that are told apart only by their configs."""
    make_run(tmp_path, "objective=hinge", spelt=[])
    (result,) = gather([tmp_path])
    many = [replace(result, config=dict(result.config) | {"batch_size": number}) for number in range(1000)]
    twins = [replace(result, config=dict(result.config) | {"novel": "a" * 600 + str(number)}) for number in range(3)]
    started = time.process_time()
    labels = method_labels([*many, *twins])
    assert time.process_time() - started < 10
    assert len(set(labels.values())) == 1003


def test_numbers_too_large_to_square_are_no_scores(tmp_path: Path) -> None:
    make_run(tmp_path, "objective=hinge", seed=0, fid=1e300)
    make_run(tmp_path, "objective=hinge", seed=1, fid=2.0)
    (row,) = only_board(tmp_path).rows
    assert row.last("fid_digits") == Spread(1, 2.0, None, 2.0, 2.0)

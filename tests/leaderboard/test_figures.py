"""What is averaged over seeds is what was recorded at the same step."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from gan_cli.leaderboard.boards import boards
from gan_cli.leaderboard.curves import losses_of, scores_by_step, scores_by_time
from gan_cli.leaderboard.figures import curves, ranks, save, study_picture
from gan_cli.leaderboard.results import gather
from gan_cli.leaderboard.styles import style
from gan_cli.text import printable

from ..pairwise import every_third_quick
from .folders import make_run


def test_a_run_that_lost_an_evaluation_shifts_no_other(tmp_path: Path) -> None:
    """FIDs 4, 2, 1 and 12, 6, 3, of which the second run's 6 was not finite: means 8, 2, 2."""
    make_run(tmp_path, "objective=hinge", seed=0, fid=1.0)
    cut = make_run(tmp_path, "objective=hinge", seed=1, fid=3.0)
    lines = (cut / "metrics.jsonl").read_text().splitlines(keepends=True)
    (cut / "metrics.jsonl").write_text("".join(line for line in lines if '"fid_digits": 6.0' not in line))
    (board,) = boards(gather([tmp_path]), None)
    panel = curves(board).axes[0]
    (line,) = panel.lines
    assert line.get_xydata().tolist() == [[10, 8], [20, 2], [30, 2]]


@pytest.mark.slow
def test_ranks_are_drawn_from_the_best_to_the_worst_and_groups_join_what_is_not_told_apart(tmp_path: Path) -> None:
    """Five runs of each of two methods that are alike, and of one that is worse: ranks 1 to 2 and 3."""
    for seed in range(5):
        for name, fid in (("hinge", 1.0), ("stdgan", 1.05), ("lsgan", 9.0)):
            make_run(tmp_path, f"objective={name}", seed=seed, fid=fid + seed / 10)
    (board,) = boards(gather([tmp_path]), None)
    assert board.ranks == {"hinge": (1, 2), "stdgan": (1, 2), "lsgan": (3, 3)}
    figure = ranks(board)
    assert figure is not None
    (axes,) = figure.axes
    *bars, group = [line.get_xydata().tolist() for line in axes.lines]
    assert bars[::2] == bars[1::2] == [[[1, 0], [2, 0]], [[1, 1], [2, 1]], [[3, 2], [3, 2]]]
    assert [y for _, y in group] == [0, 1]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["hinge", "stdgan", "lsgan"]
    (alone,) = boards(gather([tmp_path / "run-0"]), None)
    assert ranks(alone) is None


def test_points_lie_at_their_steps_seconds_and_stretches(tmp_path: Path) -> None:
    make_run(tmp_path, "objective=hinge", fid=1.0)
    (result,) = gather([tmp_path])
    assert scores_by_step(result, "fid_digits") == {10: (10, 4), 20: (20, 2), 30: (30, 1)}
    assert scores_by_time(result, "fid_digits") == {
        step: (pytest.approx(step / 10), 40 / step if step < 30 else 1) for step in (10, 20, 30)
    }
    assert losses_of(result, "discriminator") == {step: (step, 1.5) for step in (10, 20, 30)}


@pytest.mark.parametrize(
    "name",
    every_third_quick(
        ["$x^$", "$\\frac{$", "_hidden", "a" * 500, "\u65e5\u672c \U0001f600", "\\$x$ $y$", "a^b_{c"], of_one_value=True
    ),
)
def test_a_label_is_text_whatever_it_is(name: str, tmp_path: Path) -> None:
    """Neither a formula, which could end the report, nor a warning for each letter that the font lacks."""
    make_run(tmp_path, "objective=hinge", spelt=[f"objective={name}"])
    make_run(tmp_path, "objective=stdgan")
    (board,) = boards(gather([tmp_path]), None)
    figure = curves(board)
    save(tmp_path / "curves.png", figure)
    (legend,) = figure.legends
    assert any(text.get_text().replace(r"\$", "$").strip() == printable(name, 60) for text in legend.get_texts())


def test_a_picture_of_many_settings_is_not_wider_than_a_screen_can_show(tmp_path: Path) -> None:
    make_run(tmp_path, "objective=hinge")
    (result,) = gather([tmp_path])
    configs = [dict(result.config) | {"seed": number} for number in range(60)]
    many = [replace(result, config=one, overrides=[f"objective=method-{one['seed']}"]) for one in configs]
    (board,) = boards(many, None)
    figure = study_picture(board, {"x": "objective"})
    assert figure is not None
    assert figure.get_size_inches()[0] <= 40


def test_eleven_methods_have_eleven_colours_and_markers_and_forty_four_are_never_alike() -> None:
    looks = [style(place) for place in range(44)]
    assert len({look.colour for look in looks[:11]}) == len({look.marker for look in looks[:11]}) == 11
    assert len(set(looks)) == 44


def test_the_legend_lies_beside_the_panels_and_names_a_method_that_is_in_one_of_them_only(tmp_path: Path) -> None:
    for number in range(12):
        make_run(tmp_path, "objective=hinge", f"batch_size={8 + number}")
    silent = make_run(tmp_path, "objective=stdgan")
    (silent / "metrics.jsonl").write_text('{"step": 10, "losses": {"generator": {"a": 1.0}}}\n')
    (board,) = boards(gather([tmp_path]), None)
    figure = curves(board)
    figure.draw_without_rendering()
    (legend,) = figure.legends
    assert len(legend.get_texts()) == 13
    below = legend.get_window_extent().y1
    assert all(axes.get_legend() is None and axes.bbox.y0 > below for axes in figure.axes)
    markers = {handle.get_marker() for handle in legend.legend_handles}
    assert len(markers) == 11


def test_means_have_intervals_and_the_axis_of_settings_may_be_logarithmic(tmp_path: Path) -> None:
    for steps in (10, 1000):
        for seed, score in enumerate((1.0, 2.0, 3.0)):
            make_run(tmp_path, f"dataset.image_size={steps}", seed=seed, fid=score)
    (board,) = boards(gather([tmp_path]), None)
    picture = {"x": "dataset.image_size", "y": "fid_digits"}
    plain = study_picture(board, picture)
    drawn = study_picture(board, picture | {"intervals": True, "logarithmic": True})
    assert plain is not None
    assert drawn is not None
    assert (plain.axes[0].get_xscale(), drawn.axes[0].get_xscale()) == ("linear", "log")
    assert not plain.axes[0].containers
    ((_, _, (bars,)),) = drawn.axes[0].containers
    half = 4.302653 / 3**0.5  # of the mean of 1, 2, 3: Student's t with two degrees of freedom, and a deviation of 1
    for (x, low), (_, high) in (segment.tolist() for segment in bars.get_segments()):
        assert x in (10, 1000)  # a single line is not moved
        assert (low, high) == pytest.approx((2 - half, 2 + half))
    save(tmp_path / "picture.png", drawn)


def test_the_place_of_a_method_may_be_what_it_costs(tmp_path: Path) -> None:
    """Two methods with 2 and 4, and 10 gradient calls for an image: at 3 and 10."""
    for seed, (objective, calls) in enumerate((("hinge", 2.0), ("hinge", 4.0), ("stdgan", 10.0))):
        summary = make_run(tmp_path, f"objective={objective}", seed=seed, fid=1.0 + seed) / "summary.json"
        content = json.loads(summary.read_text())
        content["cost"]["sampling"] = {"gradient_calls": calls}
        summary.write_text(json.dumps(content))
    (board,) = boards(gather([tmp_path]), None)
    figure = study_picture(board, {"x": "cost.sampling.gradient_calls", "lines": "objective"})
    assert figure is not None
    places = [points.get_offsets().tolist() for points in figure.axes[0].collections]
    assert places == [[[3, 1], [3, 2]], [[10, 3]]]


def test_the_axis_and_the_legend_say_what_the_table_says(tmp_path: Path) -> None:
    make_run(tmp_path, "objective=hinge", seed=0)
    make_run(tmp_path, "objective=hinge", "augmentation=ada", seed=0)
    (board,) = boards(gather([tmp_path]), None)
    figure = study_picture(board, {"x": "objective", "y": "last.leading", "lines": "augmentation"})
    assert figure is not None
    assert figure.axes[0].get_ylabel() == board.leading
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["ada", "default"]


def test_another_draw_of_labels_is_another_seed_of_the_method(tmp_path: Path) -> None:
    for seed in range(2):
        make_run(tmp_path, "dataset.num_labelled=100", f"dataset.label_seed={seed}", seed=seed)
        make_run(tmp_path, "dataset.num_labelled=100", f"dataset.label_seed={seed + 5}", seed=0)
    (board,) = boards(gather([tmp_path]), None)
    (row,) = board.rows
    assert len(row.results) == 4

"""Rules of claims on made-up runs whose numbers are known, and the page of their outcomes."""

import json
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import ttest_1samp

from gan_cli.config.compose import studies
from gan_cli.errors import UserError
from gan_cli.files import adapter
from gan_cli.leaderboard.claims import Part, overall, parts_of, word
from gan_cli.leaderboard.claims_page import keep, outcome, page, sentences
from gan_cli.leaderboard.report import report, write_report
from gan_cli.leaderboard.results import Result, gather
from gan_cli.sweep.formats import Claim

from .folders import make_run

ROOT = Path(__file__).parents[2]
FOUND: Any = {
    "study": "mine",
    "says": "a < b | c",
    "source": "a paper",
    "remarks": ["Searched: nothing."],
    "command": ["gan-sweep", "study=mine"],
    "verdict": "not shown",
    "parts": [{"says": "FID", "expected": "lower", "mean": -1.0, "interval": [-3.0, 1.0], "n": 3, "word": "not shown"}],
    "runs": 6,
    "lost": {"diverged": 1},
    "seconds": 600.0,
    "machines": ["a CPU, 1 thread a run"],
    "ended": "2026-01-31T12:00:00Z",
    "versions": {"gan_cli": "0.2.0", "torch": "2.14.1"},
}


def found(results: list[Result], **rule: Any) -> Part:
    written: Any = {"says": "a rule"} | rule
    (part,) = parts_of({"says": "it", "source": "a paper", "rules": [written]}, results)
    return part


def test_an_interval_is_where_it_is_expected_or_elsewhere_or_both() -> None:
    assert [word(interval, "lower") for interval in ((-2.0, -1.0), (-1.0, 1.0), (1.0, 2.0))] == [
        "shown",
        "not shown",
        "contradicted",
    ]
    assert [word(interval, "higher") for interval in ((-2.0, -1.0), (-1.0, 1.0), (1.0, 2.0))] == [
        "contradicted",
        "not shown",
        "shown",
    ]
    inside, across, beside, far = ((0.2, 0.8), (0.8, 1.2), (1.0, 1.2), (-3.0, -2.0))
    assert [word(interval, [0.0, 1.0]) for interval in (inside, across, beside, far)] == [
        "shown",
        "not shown",
        "contradicted",
        "contradicted",
    ]
    assert word(None, "lower") == "not shown"


def test_a_claim_is_shown_if_every_part_is() -> None:
    parts = {w: Part("it", "lower", 0.0, None, 3, w) for w in ("shown", "not shown", "contradicted")}  # type: ignore[arg-type]
    for words, expected in (
        (["shown", "shown"], "shown"),
        (["shown", "not shown"], "not shown"),
        (["shown", "contradicted"], "not shown"),
        (["not shown", "contradicted"], "contradicted"),
        (["contradicted"], "contradicted"),
    ):
        assert overall([parts[w] for w in words]) == expected


def test_a_difference_is_within_seeds_from_the_method_that_is_hardest_to_beat(tmp_path: Path) -> None:
    for seed in range(3):
        make_run(tmp_path, "objective=hinge", seed=seed, fid=1.0 + seed)
        make_run(tmp_path, "objective=stdgan", seed=seed, fid=3.0 + seed + 0.1 * seed)
        make_run(tmp_path, "objective=lsgan", seed=seed, fid=9.0)
    runs = gather([tmp_path])
    rule = {"rule": "difference", "reading": "last.leading", "where": {"objective": "hinge"}}
    hardest = found(runs, **rule, expected="lower")
    assert (hardest.mean, hardest.n, hardest.word) == (pytest.approx(-2.1), 3, "shown")
    half = ttest_1samp([-2.0, -2.1, -2.2], 0).confidence_interval(0.95)
    assert hardest.interval == pytest.approx([half.low, half.high])
    named = found(runs, **rule, than={"objective": ["lsgan"]}, expected="higher")
    assert (named.mean, named.word) == (pytest.approx(-7.0), "contradicted")
    assert found(runs, **rule, than={"objective": "wgan"}, expected="lower").n == 0
    again = found(
        runs, rule="difference", reading="last.leading", each={"seed": [1]}, than={"seed": "{seed}"}, expected=[0, 1]
    )
    assert again.n == 0  # a rule's own runs are not among the others


def test_a_difference_of_logarithms_leaves_out_what_has_none(tmp_path: Path) -> None:
    """10^-1, 10^-2 and 0 against 10^1, 10^3 and 10^5: differences of -2 and -5, and none."""
    for seed, (own, other) in enumerate(((0.1, 1e1), (0.01, 1e3), (0.0, 1e5))):
        make_run(tmp_path, "objective=hinge", seed=seed, fid=own)
        make_run(tmp_path, "objective=stdgan", seed=seed, fid=other)
    where = {"objective": "hinge"}
    part = found(
        gather([tmp_path]), rule="difference", reading="last.leading", where=where, logarithmic=True, expected="lower"
    )
    assert (part.mean, part.n) == (pytest.approx(-3.5), 2)


def test_a_value_is_read_from_the_run_and_each_makes_a_rule_of_every_value(tmp_path: Path) -> None:
    for seed in range(2):
        for objective, fid in (("hinge", 1.0), ("stdgan", 5.0)):
            make_run(tmp_path, f"objective={objective}", seed=seed, fid=fid + 0.01 * seed)
    runs = gather([tmp_path])
    written: Any = {"rule": "value", "says": "FID of {objective}", "reading": "last.fid_digits", "expected": [0.5, 2.0]}
    hinge, stdgan = parts_of(
        {"says": "", "source": "", "rules": [written | {"each": {"objective": ["hinge", "stdgan"]}}]}, runs
    )
    assert (hinge.says, hinge.word) == ("FID of hinge", "shown")
    assert (stdgan.says, stdgan.word) == ("FID of stdgan", "contradicted")
    own = {"where": {"objective": "hinge", "seed": 0}, "expected": "higher"}
    for run in runs:
        run.summary["metrics"]["last"]["fid_digits_held_out"] = 1.5
    for reading, value in (
        ("best.leading", 1.0),
        ("mean.fid_digits", 7 / 3),
        ("floor.leading", 0.25),
        ("last.leading_held_out", 1.5),
        ("cost.seconds", 3.0),
        ("loss.discriminator", 1.5),
    ):
        assert found(runs, rule="value", reading=reading, **own).mean == pytest.approx(value)
    assert found(runs, rule="value", reading="last.leading", where={"SEED": 0}, expected="lower").n == 0
    above = found(runs, rule="value", reading="last.leading", against="floor.leading", **own)
    assert above.mean == pytest.approx(0.75)
    assert found(runs, rule="value", reading="last.of_another_name", **own).mean is None
    with pytest.raises(UserError, match="a rule reads last"):
        found(runs, rule="value", reading="fid", **own)


def test_a_trend_is_the_slope_and_an_interaction_the_change_of_one_along_another(tmp_path: Path) -> None:
    for seed in range(2):
        for steps in (1, 2, 4):
            for outcomes in (5, 10, 20):
                fid = 3 + 2 * outcomes + 0.5 * steps + (0.25 + 0.01 * seed) * steps * outcomes
                words = [f"generator_steps={steps}", f"num_outcomes={outcomes}"]
                make_run(tmp_path, "objective=realness", *words, seed=seed, fid=fid)
    runs = gather([tmp_path])
    rule = {"reading": "last.leading", "expected": "higher"}
    slope = found(runs, rule="trend", along="num_outcomes", where={"generator_steps": 2}, **rule)
    assert (slope.mean, slope.n) == (pytest.approx(2 + 2 * 0.255), 2)
    both = found(runs, rule="interaction", along=["num_outcomes", "generator_steps"], **rule)
    assert both.mean == pytest.approx(0.255)
    assert both.interval is not None
    assert both.interval[0] < 0.25 < 0.26 < both.interval[1]
    decades = found(runs, rule="trend", along="num_outcomes", where={"num_outcomes": [5, 20]}, logarithmic=True, **rule)
    by_hand = 15 * (2 + 0.255 * 7 / 3) / 0.6020599913
    assert decades.mean == pytest.approx(by_hand)
    assert found(runs, rule="trend", along="num_outcomes", where={"num_outcomes": 5}, **rule).n == 0


def test_a_correlation_is_of_ranks_along_a_run(tmp_path: Path) -> None:
    for seed, sign in ((0, 1.0), (1, -1.0)):
        path = make_run(tmp_path, "objective=wgan_gp", seed=seed)
        records: list[dict[str, Any]] = [
            {"step": step, "losses": {"discriminator": {"a": sign * step**3}}} for step in range(1, 31)
        ]
        records += [{"step": step, "metrics": {"fid_digits": float(step)}} for step in (10, 20, 30)]
        records.sort(key=lambda record: record["step"])
        (path / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    runs = gather([tmp_path])
    for seed, rho in ((0, 1.0), (1, -1.0)):
        rule = {"rule": "correlation", "reading": "leading", "along": "discriminator", "expected": "lower"}
        assert found(runs, **rule, where={"seed": seed}).mean == pytest.approx(rho)


def test_runs_that_did_not_end_well_are_counted_and_not_read(tmp_path: Path) -> None:
    for seed in range(3):
        make_run(tmp_path, "objective=hinge", seed=seed, fid=1.0, status="completed" if seed else "diverged")
    claim: Claim = {
        "says": "it",
        "source": "a paper",
        "rules": [{"rule": "value", "says": "FID", "reading": "last.leading", "expected": [0.5, 1.5]}],
    }
    sweep: Any = {
        "jobs": {},
        "claim": claim,
        "study": "mine",
        "command": ["gan-sweep", "study=mine", "sweep_dir=/mine"],
    }
    said = outcome(sweep, gather([tmp_path]))
    assert said is not None
    assert (said["verdict"], said["runs"], said["lost"], said["parts"][0]["n"]) == ("shown", 2, {"diverged": 1}, 2)
    assert said["command"] == ["gan-sweep", "study=mine"]
    assert sentences(said)[0] == "Claim: it (a paper): shown."
    assert outcome(sweep | {"claim": None}, gather([tmp_path])) is None


def test_a_sweep_s_page_and_folder_have_the_verdict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in range(2):
        make_run(tmp_path, "objective=hinge", seed=seed, fid=1.0 + 0.01 * seed)
    rule = {"rule": "value", "says": "FID", "reading": "last.leading", "expected": [0.5, 1.5]}
    sweep = {"jobs": {}, "study": "mine", "claim": {"says": "it", "source": "a paper", "rules": [rule]}}
    (tmp_path / "sweep.json").write_text(json.dumps(sweep))
    write_report([tmp_path], tmp_path, None)
    assert "it (a paper): shown." in (tmp_path / "report.html").read_text()
    assert json.loads((tmp_path / "claim.json").read_text())["verdict"] == "shown"
    said = capsys.readouterr().out
    assert "Claim: it (a paper): shown." in said
    assert "FID: 1.005 (0.941 to 1.069) over 2 seeds, expected 0.5 to 1.5: shown." in said


def test_the_page_has_what_was_found_and_what_was_not_run(tmp_path: Path) -> None:
    folder = tmp_path / "claims"
    folder.mkdir()
    (folder / "mine.json").write_text(json.dumps(FOUND))
    claim = {"says": "another", "source": "a book", "rules": []}
    nothing: dict[str, Any] = dict.fromkeys(["out", "baseline", "margin", "paired"])
    report(nothing | {"folders": [], "claims": str(folder), "outputs": "", "trust": []})
    with pytest.raises(UserError, match="is not a folder: gan-report <sweep>"):
        report(nothing | {"folders": [], "claims": str(tmp_path / "other"), "outputs": "", "trust": []})
    assert "| [`mine`](#mine) | a &lt; b \\| c | a paper | not shown |" in (tmp_path / "claims.md").read_text()
    part = FOUND["parts"][0]
    partly = FOUND | {"parts": [part, part | {"word": "shown"}, part | {"word": "contradicted"}]}
    (folder / "partly.json").write_text(json.dumps(partly))
    assert "| a paper | not shown (1 of 3 parts are) |" in page(folder, {})
    (folder / "partly.json").unlink()
    text = page(folder, {"mine": {}, "other": {"claim": claim}, "third": {}})
    assert "| `other` | another | a book | not run |" in text
    assert "| FID | lower | -1.0 (-3.0 to 1.0) | 3 | not shown |" in text
    assert "6 runs, 1 diverged, 10 minutes" in text
    (folder / "mine.json").write_text("{}")
    with pytest.raises(UserError, match="is not the outcome of a claim"):
        page(folder, {})


@pytest.mark.parametrize("name", [name for name, study in studies().items() if "claim" in study])
def test_every_claim_of_a_study_is_well_formed(name: str) -> None:
    claim = adapter(Claim).validate_python(studies()[name]["claim"], strict=True)
    assert {part.word for part in parts_of(claim, [])} == {"not shown"}


def test_every_picture_of_a_study_is_kept_in_order_and_no_earlier_one(tmp_path: Path) -> None:
    """A study on three sets of data has three tables, and a picture of each; another study's are its own."""
    (runs := tmp_path / "runs").mkdir()
    drawn = [runs / name for name in ("study.png", "study-2.png", "study-10.png")]
    for picture in drawn:
        picture.write_bytes(b"")
    (folder := tmp_path / "claims").mkdir()
    (folder / "mine-3.png").write_bytes(b"")
    (folder / "mine-other.png").write_bytes(b"")
    keep(FOUND, folder, drawn)
    shown = [line for line in page(folder, {}).splitlines() if line.startswith("![")]
    assert shown == [f"![mine](claims/{name}.png)" for name in ("mine", "mine-2", "mine-10")]
    assert {path.name for path in folder.glob("*.png")} == {"mine.png", "mine-2.png", "mine-10.png", "mine-other.png"}


def test_the_page_of_this_repository_is_what_its_files_give() -> None:
    folder = ROOT / "docs" / "claims"
    assert (ROOT / "docs" / "claims.md").read_text() == page(folder, studies())

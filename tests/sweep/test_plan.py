"""Which jobs a command line asks for, and what their folders are called."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import ConfigCompositionException
from omegaconf import DictConfig, OmegaConf

from gan_cli.config.compose import CONF, loader
from gan_cli.config.overrides import labels, quoted
from gan_cli.errors import UserError
from gan_cli.files import slug
from gan_cli.sweep.command_line import kind_of, prepare
from gan_cli.sweep.plan import plan
from gan_cli.sweep.sweep import check_picture, compared
from gan_cli.sweep.sweep_folder import Job, SweepFolder, fingerprint

from ..pairwise import every_third_quick

SEEDS = {"seed": "0,1"}


def composed(point: list[str]) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("sweep", point)


def planned(*arguments: str, study: str | None = None, params: dict[str, str] = SEEDS) -> list[Job]:
    found = OmegaConf.to_container(OmegaConf.load(CONF / "study" / f"{study}.yaml"), resolve=True) if study else {}
    assert isinstance(found, dict)
    return plan(found, params, arguments, composed, OverridesParser.create())


def points(jobs: Sequence[Job]) -> list[str]:
    return [" ".join(job.point) for job in jobs]


def test_every_combination_and_all_methods_of_a_seed_before_the_next() -> None:
    assert points(planned("objective=stdgan,hinge", "steps=7")) == [
        "seed=0 objective=stdgan steps=7",
        "seed=0 objective=hinge steps=7",
        "seed=1 objective=stdgan steps=7",
        "seed=1 objective=hinge steps=7",
    ]


def test_glob_takes_the_choices_of_a_group() -> None:
    jobs = plan({}, {}, ["objective=glob(wgan*)", "seed=0"], composed, OverridesParser.create(loader()))
    assert [job.point[0] for job in jobs] == ["objective=wgan", "objective=wgan_gp"]


def test_the_command_line_replaces_what_the_study_says() -> None:
    jobs = planned("seed=5", "steps=9", "objective.generator_objective=2,3", study="realness_generator_objective")
    assert [
        (job.config["seed"], job.config["steps"], job.config["objective"]["generator_objective"]) for job in jobs
    ] == [
        (5, 9, 2),
        (5, 9, 3),
    ]


@pytest.mark.slow
def test_debug_makes_a_study_small_whatever_it_sets() -> None:
    jobs = planned("debug=fast", "num_eval_images=64", study="advlat_z", params={"seed": "0"})
    assert {job.config["steps"] for job in jobs} == {20}
    assert {job.config["evaluate_every"] for job in jobs} == {10}  # 0 in the study
    assert {job.config["num_eval_images"] for job in jobs} == {64}
    assert len(jobs) == len(planned(study="advlat_z", params={"seed": "0"})) == 120


def test_a_setting_goes_to_the_choices_that_take_it() -> None:
    jobs = planned("objective=stdgan,realness", "num_outcomes=7,9", params={})
    assert points(jobs) == [
        "objective=stdgan",
        "objective=realness num_outcomes=7",
        "objective=realness num_outcomes=9",
    ]


def test_a_setting_that_no_choice_takes_is_refused() -> None:
    with pytest.raises(ConfigCompositionException, match="num_outcomes"):
        planned("objective=stdgan,hinge", "num_outcomes=7")


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(UserError) as refused:
        planned("objective=hinge", "batch_size=0,64", "steps=0")
    assert "batch_size=0 must be at least 2" in str(refused.value)
    assert "steps=0 must be at least 1" in str(refused.value)


def test_the_same_config_is_run_once() -> None:
    assert len(planned("regularizer=r1,[r1]", params={})) == 1


def test_seeds_alone_make_the_names_of_one_method() -> None:
    names = [job.name for job in planned("objective=hinge")]
    assert [name.rsplit("-", 1)[0] for name in names] == ["seed-0", "seed-1"]


@pytest.mark.parametrize(
    "value",
    every_third_quick(
        ["../../escape", "/etc/passwd", "x" * 300, "a\nb", "%s", "<script>", "..", "~", ".hidden", "-rf", "a'b\\"],
        of_one_value=True,
    ),
)
def test_hostile_values_make_safe_names(value: str) -> None:
    jobs = planned("objective=hinge", f"outputs={quoted(value)},other")
    names = {job.name for job in jobs}
    for name in names:
        assert len(name) < 160
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
        assert name[0] not in ".-"
        assert Path("sweep", name).resolve().parent == Path("sweep").resolve()


def test_the_name_follows_the_config_however_it_was_spelt(tmp_path: Path) -> None:
    (first,) = planned("objective=hinge", "seed=3")
    (second,) = planned("objective=hinge", "seed=3", "batch_size=64")
    (other,) = planned("objective=hinge", "seed=3", "batch_size=65")
    assert fingerprint(first.config) == fingerprint(second.config) != fingerprint(other.config)
    before = {key: value for key, value in first.config.items() if key != "ema_snapshots_every"}
    assert fingerprint(before) == fingerprint(first.config), "of a version that has no such setting"
    (kept,) = planned("objective=hinge", "seed=3", "ema_snapshots_every=10")
    assert fingerprint(kept.config) != fingerprint(first.config)
    folder = SweepFolder(tmp_path)
    folder.add([Job("called-otherwise-" + fingerprint(first.config), first.point, first.config)])
    assert folder.named([second])[0].name == "called-otherwise-" + fingerprint(first.config)
    assert folder.named([other]) == [other]


def test_commands_of_a_kind_differ_in_seeds_objectives_and_swept_values() -> None:
    first = kind_of(["objective=stdgan,hinge", "seed=0,1", "dataset=mnist", "batch_size=8,16"])
    assert first == kind_of(
        [
            "dataset=mnist",
            "objective=lsgan",
            "batch_size=4,8",
            "fail_fast=true",
            "hydra/launcher=x",
            "hydra.sweeper.params.seed=7",
        ]
    )
    assert first == {"settings": ["dataset=mnist"], "swept": ["batch_size"]}
    assert first != kind_of(["objective=stdgan,hinge", "seed=0,1", "dataset=digits", "batch_size=8,16"])
    assert first != kind_of(["objective=stdgan,hinge", "seed=0,1", "dataset=mnist"])
    assert kind_of(["study=comparison"]) != kind_of(["study=advlat_z"])
    assert kind_of(["num_outcomes=choice(7)"]) == kind_of(["num_outcomes=7"])  # as a setting of some jobs is passed on


QUICK_STUDIES = ("adversarial_examples", "realness_outcomes")


@pytest.mark.parametrize(
    "study",
    [
        pytest.param(path.stem, marks=() if path.stem in QUICK_STUDIES else pytest.mark.slow)
        for path in (CONF / "study").glob("*.yaml")
    ],
)
def test_every_study_plans_and_its_picture_finds_its_settings(study: str) -> None:
    given = ["dataset.root=photographs"] if study == "photographs" else []  # which only the user can know
    jobs = planned("steps=2", *given, study=study, params={"seed": "0"})
    assert len(jobs) > 2
    assert len({job.name for job in jobs}) == len(jobs)
    content = OmegaConf.to_container(OmegaConf.load(CONF / "study" / f"{study}.yaml"))
    assert isinstance(content, dict)
    assert set(content) <= {"params", "grids", "picture", "source", "claim", "margin", "paired"}
    assert ("source" in content) == any("published" in grid for grid in content.get("grids", []))
    keys = {"title", "x", "xlabel", "lines", "y", "categories", "intervals", "logarithmic", "where"}
    assert set(content.get("picture", {})) <= keys
    without = ("comparison", "cheap_ideas", "advlat_qua_cifar10", "advlat_qua_stl10", "adversarial_examples")
    assert study in without or "x" in content["picture"]


@pytest.mark.parametrize(
    ("own", "trust"), [(["study=own"], ["mine"]), (["study=own", "study.picture=yours.draw"], ["yours"]), ([], [])]
)
def test_the_package_that_may_draw_is_that_of_the_study_on_the_command_line(
    own: list[str], trust: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "own.yaml").write_text("grids:\n  - {objective: stdgan}\npicture: mine.module.draw\n")
    monkeypatch.setattr("sys.argv", ["gan-sweep", "--config-dir", str(tmp_path), f"sweep_dir={tmp_path}", *own])
    prepared = prepare()
    assert prepared is not None
    assert prepared.trust == trust


@pytest.mark.parametrize("picture", ["mine", "mine.draw()", "../mine.draw", ""])
def test_a_picture_that_names_no_function_is_refused(picture: str) -> None:
    with pytest.raises(UserError, match="names no function, as in picture: mine.own.draw"):
        check_picture(picture)


def test_published_scores_go_with_their_row_and_are_no_override(tmp_path: Path) -> None:
    grids = [{"objective": "hinge", "published": {"fid": 41.7, "inception_score_mean": 8}}, {"objective": "stdgan"}]
    study = {"source": "a paper", "grids": grids}
    jobs = plan(study, SEEDS, ["steps=7"], composed, OverridesParser.create())
    assert points(jobs)[:2] == ["seed=0 objective=hinge steps=7", "seed=0 objective=stdgan steps=7"]
    assert [job.published for job in jobs] == 2 * [{"fid": 41.7, "inception_score_mean": 8.0}, {}]
    plain = planned("objective=hinge,stdgan", "steps=7")
    assert [job.config for job in jobs] == [job.config for job in plain]
    assert {job.name.rsplit("-", 1)[1] for job in jobs} == {job.name.rsplit("-", 1)[1] for job in plain}
    folder = SweepFolder(tmp_path)
    folder.add(plain)
    folder.quote(folder.named(jobs))  # they may have been run before anybody published anything
    folder.add(folder.named(plain))
    entries = list(folder.read()["jobs"].values())
    assert [(job.get("published"), job.get("source")) for job in entries] == 2 * [
        ({"fid": 41.7, "inception_score_mean": 8.0}, "a paper"),
        (None, None),
    ]


@pytest.mark.parametrize("published", [41.7, {"fid": "low"}, {"fid": True}, {"fid": float("nan")}, [1.0]])
def test_published_scores_that_are_no_numbers_are_refused(published: object) -> None:
    with pytest.raises(UserError, match="must be numbers by metric, as in published: {fid: 41.7}"):
        plan({"grids": [{"published": published}]}, {}, [], composed, OverridesParser.create())


@pytest.mark.parametrize(
    "told",
    [
        {"objective=hinge": "hinge"},
        {"+experiment=[toy_ring,advlat_qua]": "[toy_ring,advlat_qua]"},
        {"objective.divergence=kl": "divergence=kl", "objective.divergence=pearson": "divergence=pearson"},
        {"latent_sampler@latent_sampler.prior=uniform": "prior=uniform"},
        {"optimizer@generator_optimizer=rmsprop": "generator_optimizer=rmsprop"},
        {"num_outcomes=51": "num_outcomes=51"},
        {"~regularizer.r1": "~regularizer.r1"},
        {"discriminator_optimizer.lr=1e-3": "discriminator_optimizer.lr=1e-3"},  # whose, also if no other varies
        {"model.generator.width=4": "generator.width=4"},
        {"regularizer.r1.weight=1": "weight=1"},
        {"regularizer.r1.weight=1": "r1.weight=1", "regularizer.r2.weight=1": "r2.weight=1"},
        {"latent_sampler.steps=5": "latent_sampler.steps=5"},  # steps are the run's
        {"regularizer=none": "regularizer=none", "augmentation=none": "augmentation=none", "model=cnn": "cnn"},
    ],
)
def test_labels_are_short_and_name_one_key(told: dict[str, str]) -> None:
    assert labels(told) == told


def test_the_same_setting_of_both_players_names_two_folders() -> None:
    rates = ["generator_optimizer.lr=1e-3,1e-4", "discriminator_optimizer.lr=1e-3,1e-4"]
    names = {job.name.rpartition("-seed")[0] for job in planned(*rates, params={"seed": "0"})}
    assert names == {
        f"generator_optimizer.lr-{one}-discriminator_optimizer.lr-{other}"
        for one in ("0.001", "0.0001")
        for other in ("0.001", "0.0001")
    }


@pytest.mark.parametrize(
    "value", ["/a b/c", "it's", "C:\\x\\", "a\\'b", "x,y", "[1]", "a=b", "\\\\", "", "n\\\\'q", "µ"]
)
def test_quoted_values_are_read_back(value: str) -> None:
    assert OverridesParser.create().parse_override(f"key={quoted(value)}").value() == value


def test_a_slug_is_one_part_of_a_path() -> None:
    assert slug("../../x y/é") == "x-y"
    assert slug("a" * 300) == "a" * 60


def test_how_methods_are_compared_is_as_given_or_as_the_study_says() -> None:
    study = {"margin": 0.2, "paired": True}
    given = {"baseline": None, "margin": None, "paired": None, "study": study}
    assert compared(given) == {"baseline": None, "margin": 0.2, "paired": True}
    assert compared(given | {"margin": 1.0, "paired": False}) == {"baseline": None, "margin": 1.0, "paired": False}
    assert compared(given | {"study": None}) == {"baseline": None, "margin": None, "paired": None}
    for wrong, said in (({"margin": -1.0}, "margin=-1.0 must be above 0"), ({"paired": "no"}, "paired")):
        with pytest.raises(UserError, match=said):
            compared(given | {"study": wrong})

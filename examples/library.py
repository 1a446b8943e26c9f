"""Trains RealnessGAN on the embedded digits, generates images and scores them: python examples/library.py."""

from gan_cli import Subject, build_experiment, build_scorer, choose_engine, config_of, generate, train

config = config_of(["objective=realness", "num_outcomes=51", "steps=200", "seed=1"])
experiment = build_experiment(config, choose_engine("auto"))

for step in train(experiment):
    if step.number % 50 == 0:
        losses = {player: float(sum(terms.values())) for player, terms in step.losses.items()}
        print(f"step {step.number}", {player: round(loss, 3) for player, loss in losses.items()})

real = experiment.gan.calibration(experiment.training_set)  # None: this sampler reads no real images
fake = generate(experiment.gan, 1000, seed=0, real=real, dtype=experiment.dataset.stored)
print("images", tuple(fake.values.shape), fake.values.dtype, "from codes", tuple(fake.refined.codes.shape))

scorer, unavailable = build_scorer(experiment.dataset, experiment.training_set, num_fake=1000)
if scorer is None:
    raise SystemExit(unavailable)
scores = scorer.score(Subject(fake.values, fake.labels))
print({name: round(score, 3) for name, score in scores.items()})

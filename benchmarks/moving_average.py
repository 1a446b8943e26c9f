"""Scores of moving averages with different ramps, all of the same training: python benchmarks/moving_average.py

One line for each number of steps. More arguments are overrides, such as dataset=mnist seed=1.
"""

import copy
import sys
from dataclasses import replace

from gan_cli import build_experiment, build_scorer, config_of, generate, train
from gan_cli.ema import MovingAverage, ramped_up
from gan_cli.engine import CPU, Engine
from gan_cli.metrics.metrics import Subject

DECAY = 0.995
STEPS = (100, 500, 1000, 4000)
RAMPS = {
    "constant": lambda step: DECAY,
    "(1 + t) / (10 + t)": lambda step: ramped_up(DECAY, step),
    "half-life of 5 %": lambda step: min(DECAY, 0.5 ** (20 / (step + 1))),  # of the steps so far (arXiv:2006.06676)
    "none": lambda step: 0.0,
}

if __name__ == "__main__":
    experiment = build_experiment(config_of([f"steps={STEPS[-1]}", *sys.argv[1:]]), Engine(CPU))
    gan, count = experiment.gan, experiment.num_eval_images
    scorer, unavailable = build_scorer(experiment.dataset, experiment.training_set, count)
    if scorer is None:
        sys.exit(unavailable)
    averages = {name: copy.deepcopy(gan.ema_generator) for name in RAMPS}
    for step in train(experiment):
        for name, ramp in RAMPS.items():
            MovingAverage(averages[name], gan.game.generator).update(ramp(step.number - 1))
        if step.number in STEPS:
            scores = {}
            for name, average in averages.items():
                made = generate(replace(gan, ema_generator=average), count, 0, None, experiment.dataset.stored)
                scores[name] = scorer.score(Subject(made.values, made.labels))[scorer.leading]
            shown = ", ".join(f"{name} {score:.3g}" for name, score in scores.items())
            print(f"step {step.number}: {scorer.leading} {shown}", flush=True)

"""The training loop: seed, schedules, feed, one iteration; it yields after every step and does nothing else."""

import math
import time
from collections import deque
from collections.abc import Iterator
from functools import partial

from torch import Tensor

from gan_cli.capture import Captured
from gan_cli.ema import ramped_up
from gan_cli.engine import Copy, Engine
from gan_cli.errors import DivergedError
from gan_cli.experiment import Experiment
from gan_cli.feed import Feed
from gan_cli.iteration import Step, iteration
from gan_cli.schedule import value_at


def train(experiment: Experiment, first_step: int = 0) -> Iterator[Step]:
    """Yields each step as it finishes; the caller reports, evaluates and saves between them.

    A step's `turn` is to be read before the next step, which may overwrite it on a GPU.

    Raises DivergedError for a loss that is not finite: in place of its step on a CPU, on a GPU once the host knows.
    """
    settings, engine = experiment.settings, experiment.game.engine
    watch, feed = Watch(engine), Feed(experiment)
    iterate = Captured(experiment) if engine.captures else partial(iteration, experiment)
    for number in range(first_step, settings.steps):
        with engine.training():
            engine.begin_step(settings.seed, number)
            for player in experiment.players:
                player.set_schedules(number)
            decay = ramped_up(value_at(settings.ema_decay, number), number)
            step = iterate(number, feed(number), decay)
            for average in experiment.power_averages:
                average.update(number + 1)
            feed.prepare(number + 1)
        watch.look(step.number, step.names, step.terms)
        yield step


class Watch:
    """Sees every loss of every turn without waiting for the device, which may be some steps behind."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        # Processes that train together have to end at the same step, so that they do not ask when a copy arrives.
        self.lag = None if engine.ranks.size == 1 else 0 if engine.backend is None else 2
        self.coming: deque[tuple[int, list[tuple[str, str]], Copy]] = deque()

    def look(self, step: int, names: list[tuple[str, str]], losses: Tensor) -> None:
        """Raises DivergedError for the first loss that is not finite, of this step or of one that has arrived since."""
        self.coming.append((step, names, self.engine.copy_to_host(losses)))
        while self.coming and self.is_due():
            step, names, copy = self.coming.popleft()
            for (player, name), loss in zip(names, copy.values.tolist(), strict=True):
                if not math.isfinite(loss):
                    raise DivergedError(f"diverged: the {player}'s {name} loss is {loss} at step {step}")

    def is_due(self) -> bool:
        """Whether the oldest copy is to be read; of several processes it is one of a fixed number of steps ago."""
        oldest = self.coming[0][2]
        if self.lag is None:
            return oldest.has_arrived()
        if len(self.coming) <= self.lag:
            return False
        while not oldest.has_arrived():
            time.sleep(1e-4)
        return True

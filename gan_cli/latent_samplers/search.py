"""The search of AdvLatGAN (Li et al. 2022): latents whose images fool the discriminator better."""

from torch import Tensor

from gan_cli.game import Game
from gan_cli.gradients import ball, signed_descent
from gan_cli.isolation import isolated
from gan_cli.shapes import Images, Latents, Loss


def fooling_latents(
    game: Game, start: Latents, real: Images, *, steps: int, step_size: float, radius: float | None
) -> Latents:
    """I-FGSM down the generator's adversarial loss (equations 5, 6), at most `radius` from the start a coordinate.

    `real` is read by objectives whose generator loss compares with real images. Nothing but the result is left behind.
    """
    with isolated("search", game.generator, game.discriminator):
        loss = game.generator_loss_against(as_many(real, len(start)))

        def fooled(latents: Latents) -> Loss:
            return loss(game.generator(latents))

        return signed_descent(fooled, start, steps=steps, step_size=step_size, project=ball(start, radius))


def as_many(real: Tensor, count: int) -> Tensor:
    """`count` of the images, over and over if they are fewer; none of none."""
    return real[:count].repeat(-(-count // max(len(real), 1)), 1, 1, 1)[:count]


def check_search(steps: int, step_size: float, radius: float | None) -> None:
    if steps < 0:
        raise ValueError(f"steps={steps} must be at least 0")
    if step_size <= 0:
        raise ValueError(f"step_size={step_size} must be above 0")
    if radius is not None and radius <= 0:
        raise ValueError(f"radius={radius} must be above 0, or null for none")

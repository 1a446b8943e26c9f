from torch import nn

from gan_cli.shapes import Codes, Images, Logits


class Generator(nn.Module):
    """Enlarges by copying pixels, then convolves: no checkerboards (Odena et al. 2016, doi:10.23915/distill.00003)."""

    def __init__(self, *, width: int, latent_dim: int, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        channels, height, breadth = image_shape
        smallest = (4 * width, height // 4, breadth // 4)
        self.layers = nn.Sequential(
            nn.Linear(latent_dim, smallest[0] * smallest[1] * smallest[2]),
            nn.Unflatten(1, smallest),
            *(
                nn.BatchNorm2d(4 * width),
                nn.ReLU(),
                nn.Upsample(scale_factor=2),
                nn.Conv2d(4 * width, 2 * width, 3, 1, 1),
            ),
            *(nn.BatchNorm2d(2 * width), nn.ReLU(), nn.Upsample(scale_factor=2), nn.Conv2d(2 * width, width, 3, 1, 1)),
            *(nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, channels, 3, 1, 1), nn.Tanh()),
        )

    def forward(self, codes: Codes) -> Images:
        return self.layers(codes)


class Discriminator(nn.Module):
    """Two convolutions that halve the size, and one linear layer."""

    def __init__(self, *, width: int, image_shape: tuple[int, int, int], num_outcomes: int) -> None:
        super().__init__()
        channels, height, breadth = image_shape
        self.layers = nn.Sequential(
            *(nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(0.2)),
            *(nn.Conv2d(width, 2 * width, 4, 2, 1), nn.LeakyReLU(0.2), nn.Flatten()),
            nn.Linear(2 * width * (height // 4) * (breadth // 4), num_outcomes),
        )

    def forward(self, images: Images) -> Logits:
        return self.layers(images)

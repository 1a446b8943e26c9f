"""The tensors of the game, named once; the tests check them at run time."""

from jaxtyping import Float, Int, UInt8
from torch import Tensor

Images = Float[
    Tensor, "batch channels height width"
]  # in [-1, 1]; a 2-D toy point is an image [2, 1, 1] in its own units
Latents = Float[Tensor, "_batch latent"]
Logits = Float[Tensor, "_batch outcomes"]  # raw discriminator output, no activation; real and fake counts may differ
Scores = Float[Tensor, " batch"]  # one realness number per image, larger = more real
Loss = Float[Tensor, ""]

# An axis named with a leading underscore may differ between the arguments of one call.
Labels = Int[Tensor, " batch"]  # -1: unlabelled
Stored = UInt8[Tensor, "_images _channels _height _width"] | Float[Tensor, "_images _channels _height _width"]
Features = Float[Tensor, "_images _features"]

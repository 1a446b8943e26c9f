"""Named tensor types, and the values that pass between parts; the tests check the shapes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import TypeVar

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

Images = Float[
    Tensor, "batch channels height width"
]  # in [-1, 1]; a 2-D toy point is an image [2, 1, 1] in its own units
Labels = Int[Tensor, " batch"]  # -1: none
Codes = Float[Tensor, "batch latent"]
Logits = Float[Tensor, "_batch outcomes"]  # raw discriminator output, no activation; real and fake counts may differ
ClassLogits = Float[Tensor, "_batch classes"]
Embeddings = Float[Tensor, "_batch dim"]
Proxies = Float[Tensor, "_classes dim"]
Scores = Float[Tensor, " batch"]  # one realness number per image, larger = more real
Loss = Float[Tensor, ""]

# An axis named with a leading underscore may differ between the arguments of one call.
Stored = UInt8[Tensor, "_images _channels _height _width"] | Float[Tensor, "_images _channels _height _width"]
Features = Float[Tensor, "_images _features"]


Rows = TypeVar("Rows", bound="Labelled")


class Labelled:
    """Rows with one label each."""

    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def device(self) -> torch.device:
        return self.labels.device

    def rows(self: Rows, chosen: Tensor | slice) -> Rows:
        """The chosen rows, by their numbers, a mask or a slice."""
        return type(self)(*(getattr(self, field.name)[chosen] for field in fields(self)))  # type: ignore[arg-type]

    def to(self: Rows, device: torch.device) -> Rows:
        return type(self)(*(getattr(self, field.name).to(device) for field in fields(self)))  # type: ignore[arg-type]

    @classmethod
    def cat(cls: type[Rows], parts: Sequence[Rows]) -> Rows:
        """All rows of all parts, in order."""
        names = [field.name for field in fields(cls)]  # type: ignore[arg-type]
        return cls(*(torch.cat([getattr(part, name) for part in parts]) for name in names))


@dataclass(frozen=True)
class Examples(Labelled):
    """Real or generated images with their labels."""

    images: Images
    labels: Labels

    def with_images(self, images: Images) -> "Examples":
        """Other images with the same labels."""
        return replace(self, images=images)


@dataclass(frozen=True)
class Latents(Labelled):
    """The generator's input: codes with their labels."""

    codes: Codes
    labels: Labels

    def with_codes(self, codes: Codes) -> "Latents":
        """Other codes with the same labels."""
        return replace(self, codes=codes)


@dataclass(frozen=True)
class Moved(Latents):
    """Codes that a sampler has moved while training, and the draws of the prior that they come from."""

    drawn: Codes


@dataclass(frozen=True)
class Refined:
    """Codes as the prior drew them, and what the latent sampler made of them, in the same order."""

    drawn: Codes
    codes: Codes

    def first(self, count: int) -> "Refined":
        return Refined(self.drawn[:count], self.codes[:count])


@dataclass(frozen=True)
class Outputs:
    """What a discriminator makes of a batch of images: logits for the objective, and what its head says of classes.

    `class_logits` is [batch, classes]. `embedding` [batch, dim] and `proxies` [classes, dim] have rows of unit length.
    """

    logits: Logits
    class_logits: ClassLogits | None = None
    embedding: Embeddings | None = None
    proxies: Proxies | None = None

    def each(self, function: Callable[[Tensor], Tensor]) -> "Outputs":
        """The function of every tensor."""
        made = {name: function(value) for name, value in vars(self).items() if value is not None}
        return replace(self, **made)

    def tensors(self) -> dict[str, Tensor]:
        """Those with a row for each image."""
        return {name: value for name, value in vars(self).items() if value is not None and name != "proxies"}

    def rows(self, chosen: slice) -> "Outputs":
        """The outputs for the chosen images."""
        return replace(self, **{name: value[chosen] for name, value in self.tensors().items()})

    @classmethod
    def cat(cls, parts: Sequence["Outputs"]) -> "Outputs":
        """The outputs for the images of all parts, in order."""
        names = parts[0].tensors()
        return replace(parts[0], **{name: torch.cat([part.tensors()[name] for part in parts]) for name in names})


@dataclass(frozen=True)
class Turn:
    """One turn's values: the real batch, the images generated from `latents`, and the outputs for both.

    `real_outputs` is None in a generator's turn whose loss does not read real images. `labelled` are the images that a
    supervised loss reads: the real ones, unless labelled images have a batch of their own. In a game without a
    generator, `latents` and `fake` have no rows.
    """

    real: Examples
    latents: Latents
    fake: Examples
    real_outputs: Outputs | None
    fake_outputs: Outputs
    labelled: Examples

    @property
    def real_logits(self) -> Logits | None:
        return None if self.real_outputs is None else self.real_outputs.logits

    @property
    def fake_logits(self) -> Logits:
        return self.fake_outputs.logits

    @classmethod
    def cat(cls, parts: Sequence["Turn"]) -> "Turn":
        """The turn of all their images; `labelled` stays the real ones where it is."""
        real, fake = Examples.cat([part.real for part in parts]), Examples.cat([part.fake for part in parts])
        latents = type(parts[0].latents).cat([part.latents for part in parts])
        judged = [part.real_outputs for part in parts if part.real_outputs is not None]
        real_outputs = Outputs.cat(judged) if judged else None
        same = parts[0].labelled is parts[0].real
        labelled = real if same else Examples.cat([part.labelled for part in parts])
        return cls(real, latents, fake, real_outputs, Outputs.cat([part.fake_outputs for part in parts]), labelled)

    def detached(self) -> "Turn":
        """The same values without the graph that they were computed in."""
        real_outputs = None if self.real_outputs is None else self.real_outputs.each(Tensor.detach)
        fake, fake_outputs = self.fake.with_images(self.fake.images.detach()), self.fake_outputs.each(Tensor.detach)
        return replace(self, fake=fake, real_outputs=real_outputs, fake_outputs=fake_outputs)


def unlabelled(count: int, device: torch.device | None = None) -> Labels:
    return torch.full((count,), -1, device=device)

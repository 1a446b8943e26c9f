"""Conditional batch norm (Dumoulin et al. 2017, arXiv:1610.07629; de Vries et al. 2017, arXiv:1707.00683)."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from gan_cli.conditioning.conditioning import BuildGenerator, GeneratorLabels
from gan_cli.models.conditional_norm import Added, Condition, ConditionalBatchNorm
from gan_cli.shapes import Codes, Images, Labels


class NormalizedByLabel(GeneratorLabels):
    """Scale and shift of every batch norm of the generator depend on the label y: (1 + W y) x + U y.

    x is normalised, without a scale and shift of the layer's own. W and U start at 0, where labels have no effect. Of a
    generator with norms that read its code, as BigGAN's, these alone take the labels, too: W and U are then a part of
    the map from both, and start orthogonal, as it does. Raises ValueError for a generator without batch norm.
    """

    def wrap(self, build: BuildGenerator, latent_dim: int, num_classes: int) -> nn.Module:
        network = build(latent_dim)
        condition = Condition()
        own = [layer for layer in network.modules() if isinstance(layer, ConditionalBatchNorm)]
        for layer in own:
            self.add_labels(layer, num_classes, condition)
        if own:
            return LabelledNorms(network, self.embedding(num_classes), condition)
        made: dict[nn.Module, nn.Module] = {
            layer: self.conditional_layer(layer, num_classes, condition)
            for layer in network.modules()
            if isinstance(layer, _BatchNorm)
        }
        if not made:
            raise ValueError(
                f"{type(network).__module__}.{type(network).__name__} has no batch norm, which would take the labels: "
                "set generator_labels=concat, or a model with batch norm (model.generator.batch_norm=true for mlp)"
            )
        for parent in list(network.modules()):
            for name, child in list(parent.named_children()):
                if child in made:
                    setattr(parent, name, made[child])
        return LabelledNorms(network, self.embedding(num_classes), condition)

    @abstractmethod
    def embedding(self, num_classes: int) -> nn.Module:
        """From labels to what every layer is given, computed once a pass."""

    @abstractmethod
    def row(self, num_classes: int, num_features: int) -> nn.Module:
        """From what a layer is given to one number for each of its features."""

    def add_labels(self, layer: ConditionalBatchNorm, num_classes: int, condition: Condition) -> None:
        scale, shift = (self.row(num_classes, layer.norm.num_features) for _ in range(2))
        for row in (scale, shift):
            nn.init.orthogonal_(row.weight)  # type: ignore[arg-type]
        layer.scale = Added(layer.scale, scale, condition)
        layer.shift = Added(layer.shift, shift, condition)

    def conditional_layer(self, layer: _BatchNorm, num_classes: int, condition: Condition) -> nn.Module:
        scale, shift = (self.row(num_classes, layer.num_features) for _ in range(2))
        for row in (scale, shift):
            nn.init.zeros_(row.weight)  # type: ignore[arg-type]
        return ConditionalBatchNorm(layer, scale, shift, condition)


@dataclass(frozen=True, kw_only=True)
class BatchNorm(NormalizedByLabel):
    """Each layer has a table of its own, with a row for each class (SNGAN's authors, arXiv:1802.05637)."""

    def embedding(self, num_classes: int) -> nn.Module:
        return nn.Identity()

    def row(self, num_classes: int, num_features: int) -> nn.Module:
        return nn.Embedding(num_classes, num_features)


@dataclass(frozen=True, kw_only=True)
class SharedBatchNorm(NormalizedByLabel):
    """All layers share an embedding of the classes, of width `dim`, and each has a linear map of it.

    As in BigGAN (Brock et al. 2019, arXiv:1809.11096, section 3); with model=biggan parts of the code, besides. Rows
    of the embedding start at a length of about 1. Raises ValueError for a width below 1.
    """

    dim: Annotated[int, Ge(1)]

    def embedding(self, num_classes: int) -> nn.Module:
        embedding = nn.Embedding(num_classes, self.dim)
        nn.init.normal_(embedding.weight, std=self.dim**-0.5)
        return embedding

    def row(self, num_classes: int, num_features: int) -> nn.Module:
        return nn.Linear(self.dim, num_features, bias=False)


class LabelledNorms(nn.Module):
    """A generator of codes and labels, from one whose layers read `condition`."""

    conditional = True

    def __init__(self, network: nn.Module, embedding: nn.Module, condition: Condition) -> None:
        super().__init__()
        self.network = network
        self.embedding = embedding
        self.condition = condition

    def forward(self, codes: Codes, labels: Labels) -> Images:
        self.condition.given = self.embedding(labels)
        try:
            images: Tensor = self.network(codes)
        finally:
            self.condition.given = None
        return images

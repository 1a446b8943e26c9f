"""Which parts are found inside others, and whose state is saved."""

from dataclasses import dataclass

import torch
from torch import nn

from gan_cli.augmentations import Augmentation, NoAugmentation
from gan_cli.experiment import stateful
from gan_cli.part import nested
from gan_cli.shapes import Images


class Counting(nn.Module, Augmentation):
    """Remembers how often it was called; may hold another part as a module."""

    def __init__(self, inner: "Counting | None" = None) -> None:
        nn.Module.__init__(self)
        self.register_buffer("calls", torch.zeros(()))
        self.inner = inner

    def __call__(self, images: Images) -> Images:
        self.get_buffer("calls").add_(1)
        return images


@dataclass(frozen=True, kw_only=True)
class Several(Augmentation):
    in_a_list: list[Augmentation]
    by_name: dict[str, Augmentation]

    def __call__(self, images: Images) -> Images:
        for augmentation in (*self.in_a_list, *self.by_name.values()):
            images = augmentation(images)
        return images


def test_parts_are_found_at_any_depth_and_states_are_saved_once() -> None:
    alone, outer, named = Counting(), Counting(Counting()), Counting()
    whole = Several(in_a_list=[NoAugmentation(), alone, outer], by_name={"last": named})
    found = dict(nested("augmentation", whole))
    assert found["augmentation"] is whole
    assert found["augmentation.in_a_list.1"] is alone
    assert found["augmentation.in_a_list.2"] is outer
    assert found["augmentation.in_a_list.2.inner"] is outer.inner  # its moments come, too
    assert found["augmentation.by_name.last"] is named
    saved = stateful({"augmentation": whole})
    assert set(saved) == {"augmentation.in_a_list.1", "augmentation.in_a_list.2", "augmentation.by_name.last"}
    assert set(outer.state_dict()) == {"calls", "inner.calls"}

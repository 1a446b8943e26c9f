"""Examples and latents: their rows move together, and never lose a label."""

from dataclasses import FrozenInstanceError, fields

import pytest
import torch
from torch import Tensor

from gan_cli.shapes import Examples, Latents, unlabelled

LABELS = torch.tensor([5, 0, -1, 3, 8])
IMAGES = torch.arange(5.0).view(5, 1, 1, 1).expand(5, 3, 2, 2)
BOTH = [Examples(IMAGES, LABELS), Latents(torch.arange(5.0)[:, None].expand(5, 7), LABELS)]
one_of_each = pytest.mark.parametrize("whole", BOTH, ids=lambda whole: type(whole).__name__)


def numbers(rows: Examples | Latents) -> list[int]:
    """Which rows these are, by what they hold besides the label."""
    content = rows.images if isinstance(rows, Examples) else rows.codes
    return content.flatten(1)[:, 0].long().tolist()


@one_of_each
@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        (slice(2), [0, 1]),
        (slice(1, None, 2), [1, 3]),
        (slice(3, 99), [3, 4]),
        (slice(0), []),
        (torch.tensor([True, False, False, True, False]), [0, 3]),
        (torch.zeros(5, dtype=torch.bool), []),
        (torch.tensor([4, 0, 0, 2]), [4, 0, 0, 2]),
    ],
    ids=str,
)
def test_rows_are_chosen_by_slice_mask_or_number(
    whole: Examples | Latents, chosen: Tensor | slice, expected: list[int]
) -> None:
    rows = whole.rows(chosen)
    assert type(rows) is type(whole)
    assert len(rows) == len(expected)
    assert numbers(rows) == expected
    assert rows.labels.tolist() == LABELS[expected].tolist()


@one_of_each
def test_parts_are_joined_in_their_order(whole: Examples | Latents) -> None:
    parts = [whole.rows(slice(3, 5)), whole.rows(slice(0)), whole.rows(slice(2))]
    joined = type(whole).cat(parts)  # type: ignore[arg-type]
    assert type(joined) is type(whole)
    assert numbers(joined) == [3, 4, 0, 1]
    assert joined.labels.tolist() == [3, 8, 5, 0]


def test_other_images_and_other_codes_keep_the_labels() -> None:
    examples, latents = BOTH
    assert isinstance(examples, Examples)
    assert isinstance(latents, Latents)
    shown, moved = examples.with_images(IMAGES + 1), latents.with_codes(torch.zeros(5, 2))
    assert numbers(shown) == [1, 2, 3, 4, 5]
    assert numbers(examples) == [0, 1, 2, 3, 4]  # as before
    assert moved.codes.shape == (5, 2)
    assert shown.labels is moved.labels is LABELS


@one_of_each
def test_everything_moves_to_a_device_at_once(whole: Examples | Latents) -> None:
    assert whole.device == torch.device("cpu")
    there = whole.to(torch.device("meta"))
    assert type(there) is type(whole)
    assert there.device == torch.device("meta")
    for field in fields(whole):
        assert getattr(there, field.name).device == torch.device("meta")
        assert getattr(there, field.name).shape == getattr(whole, field.name).shape
    assert numbers(whole.to(torch.device("cpu"))) == [0, 1, 2, 3, 4]


@one_of_each
def test_they_cannot_be_changed_or_have_more_rows_than_labels(whole: Examples | Latents) -> None:
    with pytest.raises(FrozenInstanceError):
        whole.labels = LABELS  # type: ignore[misc]
    content = whole.images if isinstance(whole, Examples) else whole.codes
    with pytest.raises(TypeError, match="labels"):
        type(whole)(content, LABELS[:4])


def test_no_label_is_minus_one() -> None:
    assert unlabelled(3).tolist() == [-1, -1, -1]
    assert unlabelled(3).dtype == torch.int64
    assert unlabelled(2, torch.device("meta")).device == torch.device("meta")
    assert len(unlabelled(0)) == 0

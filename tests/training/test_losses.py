"""What training minimises: by hand, and that the unknown has no say."""

from __future__ import annotations

import math

import pytest
import torch

from hilum.training.losses import agreement_loss, multilabel_loss, segmentation_loss, single_label_loss
from hilum.types import LUNG_OF_UNKNOWN_SIDE, STRUCTURES

NAN = float("nan")
HEART = STRUCTURES.index("heart")


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


def test_multilabel_is_the_mean_cross_entropy_of_the_known_with_positives_weighted() -> None:
    logits = torch.tensor([[2.0, -1.0], [0.5, 3.0]])
    targets = torch.tensor([[1.0, 0.0], [NAN, 1.0]])
    loss = multilabel_loss(logits, targets, torch.tensor([4.0, 3.0]))
    assert loss.item() == pytest.approx((4 * softplus(-2) + softplus(-1) + 3 * softplus(-3)) / 3)


def test_multilabel_teaches_nothing_where_the_label_is_unknown() -> None:
    logits = torch.tensor([[2.0, -1.0], [0.5, 3.0]], requires_grad=True)
    multilabel_loss(logits, torch.tensor([[1.0, NAN], [NAN, 0.0]]), torch.ones(2)).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert (logits.grad == 0).tolist() == [[False, True], [True, False]]


@pytest.mark.parametrize("loss", [multilabel_loss, single_label_loss])
def test_a_batch_without_any_label_costs_nothing_and_can_still_be_learnt_from(loss) -> None:  # type: ignore[no-untyped-def]
    logits = torch.randn(3, 2, requires_grad=True)
    value = loss(logits, torch.full((3, 2), NAN), torch.ones(2))
    value.backward()
    assert value.item() == 0
    assert logits.grad is not None
    assert torch.equal(logits.grad, torch.zeros(3, 2))


def test_single_label_is_softmax_cross_entropy_weighted_by_class() -> None:
    logits = torch.tensor([[1.0, 0.0, -1.0], [0.0, 2.0, 0.0]])
    targets = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    costs = torch.log_softmax(logits, dim=1)
    expected = -(2.0 * costs[0, 0] + 5.0 * costs[1, 2]) / 7.0
    loss = single_label_loss(logits, targets, torch.tensor([2.0, 3.0, 5.0]))
    assert loss.item() == pytest.approx(expected.item())


def test_single_label_passes_over_films_of_unknown_or_several_classes() -> None:
    logits = torch.randn(4, 3, requires_grad=True)
    targets = torch.tensor([[0.0, 1.0, 0.0], [NAN] * 3, [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    single_label_loss(logits, targets, torch.ones(3)).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert (logits.grad != 0).any(dim=1).tolist() == [True, False, False, False]


def test_single_label_takes_the_positive_class_even_beside_unknown_ones() -> None:
    logits = torch.tensor([[5.0, -5.0]])
    loss = single_label_loss(logits, torch.tensor([[1.0, NAN]]), torch.ones(2))
    assert loss.item() == pytest.approx(softplus(-10), abs=1e-6)


def test_focal_counts_what_is_already_right_by_the_square_of_what_is_missing() -> None:
    logits, targets = torch.tensor([[2.0, -1.0]]), torch.tensor([[1.0, 0.0]])
    p, q = torch.sigmoid(logits)[0].tolist()
    by_hand = (3 * softplus(-2) * (1 - p) ** 2 + softplus(-1) * q**2) / 2
    loss = multilabel_loss(logits, targets, torch.tensor([3.0, 1.0]), kind="focal")
    assert loss.item() == pytest.approx(by_hand)


def test_asymmetric_passes_over_what_is_surely_absent_and_leaves_positives_alone() -> None:
    logits, targets = torch.tensor([[2.0, -4.0, 1.0]]), torch.tensor([[1.0, 0.0, 0.0]])
    doubt = torch.sigmoid(torch.tensor(1.0)).item() - 0.05
    by_hand = (softplus(-2) - math.log(1 - doubt) * doubt**4) / 3  # of the second, given 0.018, nothing
    assert multilabel_loss(logits, targets, torch.ones(3), kind="asymmetric").item() == pytest.approx(by_hand)


def test_smoothing_draws_targets_towards_ignorance() -> None:
    logits = torch.tensor([[2.0, -1.0]])
    loss = multilabel_loss(logits, torch.tensor([[1.0, 0.0]]), torch.ones(2), smoothing=0.2)
    by_hand = (0.9 * softplus(-2) + 0.1 * softplus(2) + 0.9 * softplus(-1) + 0.1 * softplus(1)) / 2
    assert loss.item() == pytest.approx(by_hand)
    weighted = multilabel_loss(logits, torch.tensor([[1.0, 0.0]]), torch.tensor([3.0, 20.0]), smoothing=0.2)
    by_hand = (3 * (0.9 * softplus(-2) + 0.1 * softplus(2)) + 0.9 * softplus(-1) + 0.1 * softplus(1)) / 2
    assert weighted.item() == pytest.approx(by_hand)
    single = single_label_loss(logits, torch.tensor([[1.0, 0.0]]), torch.ones(2), smoothing=0.2)
    assert single.item() == pytest.approx(0.9 * softplus(-3) + 0.1 * softplus(3))


def test_blended_targets_cost_their_shares_of_both() -> None:
    logits = torch.tensor([[1.0, 0.0, -1.0]])
    one, other = torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([[0.0, 0.0, 1.0]])
    for loss in (multilabel_loss, single_label_loss):
        apart = [loss(logits, each, torch.ones(3)).item() for each in (one, other)]
        blended = loss(logits, 0.3 * one + 0.7 * other, torch.ones(3)).item()
        assert blended == pytest.approx(0.3 * apart[0] + 0.7 * apart[1])


def _known(*names: str) -> torch.Tensor:
    return torch.tensor([[name in names for name in (*STRUCTURES, "lungs")]])


def test_segmentation_by_hand_for_one_known_structure() -> None:
    logits = torch.zeros(1, 3, 2, 2)
    logits[0, HEART] = torch.tensor([[4.0, -4.0], [-4.0, -4.0]])
    masks = torch.tensor([[[3, 0], [0, 0]]], dtype=torch.uint8)
    p, q = torch.sigmoid(torch.tensor([4.0, -4.0])).tolist()
    dice = (2 * p + 1) / (p + 3 * q + 1 + 1)
    loss = segmentation_loss({"logits": logits}, masks, _known("heart"))
    assert loss.item() == pytest.approx(softplus(-4) + 1 - dice, rel=1e-5)


def test_structures_a_film_does_not_show_are_not_taught() -> None:
    logits = torch.randn(1, 3, 8, 8, requires_grad=True)
    masks = torch.zeros(1, 8, 8, dtype=torch.uint8)
    masks[0, 2:5, 2:5] = LUNG_OF_UNKNOWN_SIDE
    segmentation_loss({"logits": logits}, masks, _known("lungs")).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert torch.equal(logits.grad[0, HEART], torch.zeros(8, 8))
    assert (logits.grad[0, :HEART] != 0).any()


def test_films_count_by_what_they_show() -> None:
    """A film without outlines beside one with them changes nothing."""
    logits = torch.randn(2, 3, 8, 8)
    masks = torch.randint(0, 4, (2, 8, 8), dtype=torch.uint8)
    known = torch.cat([_known(*STRUCTURES), _known()])
    alone = segmentation_loss({"logits": logits[:1]}, masks[:1], known[:1])
    torch.testing.assert_close(segmentation_loss({"logits": logits}, masks, known), alone)
    assert segmentation_loss({"logits": logits[1:]}, masks[1:], known[1:]).item() == 0


def test_either_lung_may_claim_a_pixel_of_unknown_side() -> None:
    """The larger logit is held against the mask: sides may be swapped, but one of them must claim it."""
    masks = torch.tensor([[[LUNG_OF_UNKNOWN_SIDE, 0]]], dtype=torch.uint8)
    right = torch.tensor([[[[9.0, -9.0]], [[-9.0, -9.0]], [[0.0, 0.0]]]])
    left = right[:, [1, 0, 2]]
    neither = right.clone()
    neither[0, 0] = -9.0
    losses = [
        segmentation_loss({"logits": logits}, masks, _known("lungs")).item()
        for logits in (right, left, neither)
    ]
    p = torch.sigmoid(torch.tensor(9.0)).item()
    assert losses[0] == pytest.approx(softplus(-9) + 1 - (2 * p + 1) / (1 + 1 + 1), abs=1e-5)
    assert losses[1] == losses[0]
    assert losses[2] > 4


def test_sides_that_are_known_count_towards_both_lungs_too() -> None:
    """A mask with sides, asked for both lungs together, is the mask without sides."""
    logits = torch.randn(1, 3, 4, 4)
    sided = torch.randint(0, 3, (1, 4, 4), dtype=torch.uint8)
    plain = torch.where(sided > 0, LUNG_OF_UNKNOWN_SIDE, 0).to(torch.uint8)
    one, other = (segmentation_loss({"logits": logits}, masks, _known("lungs")) for masks in (sided, plain))
    torch.testing.assert_close(one, other)


def test_coarse_outputs_together_count_half_against_the_masks_shares() -> None:
    masks = torch.zeros(1, 4, 4, dtype=torch.uint8)
    masks[0, :2, :2] = 3
    masks[0, 2, 2] = 3
    fine, coarse, coarsest = torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 2, 2), torch.zeros(1, 3, 1, 1)
    coarse[0, HEART] = torch.tensor([[3.0, -3.0], [-3.0, -1.0]])
    known = _known("heart")
    loss = segmentation_loss({"logits": fine, "coarse": [coarsest, coarse]}, masks, known)
    # A quarter of the last 2 x 2 pixels is heart, and 5 of all 16.
    p, q, r = torch.sigmoid(torch.tensor([3.0, -3.0, -1.0])).tolist()
    entropy = (softplus(-3) + 2 * softplus(-3) + 0.25 * softplus(1) + 0.75 * softplus(-1)) / 4
    dice = (2 * (p + r / 4) + 1) / (p + 2 * q + r + 1.25 + 1)
    coarse_loss = entropy + 1 - dice
    coarsest_loss = math.log(2) + 1 - (2 * 0.5 * 5 / 16 + 1) / (0.5 + 5 / 16 + 1)
    fine_loss = segmentation_loss({"logits": fine}, masks, known).item()
    assert loss.item() == pytest.approx(fine_loss + 0.25 * (coarse_loss + coarsest_loss), rel=1e-5)


def test_a_coarse_output_learns_only_what_the_film_shows() -> None:
    masks = torch.randint(0, 4, (2, 8, 8), dtype=torch.uint8)
    coarse = torch.randn(2, 3, 4, 4, requires_grad=True)
    outputs = {"logits": torch.randn(2, 3, 8, 8), "coarse": [coarse]}
    segmentation_loss(outputs, masks, torch.cat([_known("heart"), _known()])).backward()  # type: ignore[no-untyped-call]
    assert coarse.grad is not None
    assert (coarse.grad != 0).any(dim=(2, 3)).tolist() == [[False, False, True], [False] * 3]


def test_right_outlines_cost_next_to_nothing_and_wrong_ones_much() -> None:
    masks = torch.zeros(1, 8, 8, dtype=torch.uint8)
    masks[0, :, :4], masks[0, :, 5:], masks[0, 4:, 3:6] = 1, 2, 3
    right = torch.stack([torch.where(masks == value, 20.0, -20.0) for value in (1, 2, 3)], dim=1)
    for structures in (STRUCTURES, ("heart",), ("right_lung", "lungs")):
        known = _known(*structures)
        assert segmentation_loss({"logits": right}, masks, known).item() < 1e-4
        assert segmentation_loss({"logits": -right}, masks, known).item() > 10


def test_agreement_by_hand() -> None:
    # Two films, two views each, two dimensions: the second dimension never moves.
    vectors = torch.tensor([[2.0, 1.0], [1.0, 1.0], [-2.0, 1.0], [-1.0, 1.0]])
    one, other = math.sqrt(8 + 1e-4), math.sqrt(2 + 1e-4)
    assert one > 1 < other  # both spread enough in the first dimension
    still = 1 - math.sqrt(1e-4)
    apart = (1 + 0 + 1 + 0) / 4
    assert agreement_loss(vectors).item() == pytest.approx(apart + 2 * (still / 2) / 2, rel=1e-5)


def test_agreement_wants_films_apart_and_dimensions_of_their_own() -> None:
    rng = torch.Generator().manual_seed(0)
    films = 2 * torch.randn(200, 4, generator=rng)
    paired = films.repeat_interleave(2, dim=0)
    shared = films[:, :1].expand(-1, 4).repeat_interleave(2, dim=0)
    assert agreement_loss(paired) < agreement_loss(shared)
    assert agreement_loss(paired) < agreement_loss(torch.zeros(400, 4))
    assert agreement_loss(paired) < agreement_loss(torch.cat([films, films]))  # views of different films

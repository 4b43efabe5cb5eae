from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from napari_colorize_training.loop.losses import (
    add_noise,
    class_weights,
    colorfulness_loss,
    critic_loss,
    distance,
    distillation_loss,
    encode_nearest,
    encode_softly,
    feature_loss,
    generator_loss,
    is_colored,
    noise_consistency,
    smooth_prior,
    soft_cross_entropy,
    strongest_cross_entropy,
    zhang_weights,
)

from napari_colorize.networks.compact import CLASS_GRID

STEPS, ORIGIN = torch.tensor(CLASS_GRID.steps), torch.tensor(CLASS_GRID.origin)


def test_the_mean_of_a_soft_encoding_is_the_color():
    uv = torch.rand(2, 2, 5, 7) * 0.7 - 0.35

    classes, shares = encode_softly(uv, STEPS, ORIGIN, CLASS_GRID.shape)

    mean = (CLASS_GRID.centers()[classes] * shares.unsqueeze(-1)).sum(1).movedim(-1, 1)
    torch.testing.assert_close(mean, uv, atol=1e-5, rtol=0)
    torch.testing.assert_close(shares.sum(1), torch.ones(2, 5, 7))


def test_colors_outside_the_grid_are_clamped():
    uv = torch.tensor([0.436, -0.615]).view(1, 2, 1, 1)

    classes, shares = encode_softly(uv, STEPS, ORIGIN, CLASS_GRID.shape)

    mean = (CLASS_GRID.centers()[classes] * shares.unsqueeze(-1)).sum(1).flatten()
    torch.testing.assert_close(mean, torch.tensor([0.4, -0.5]), atol=1e-3, rtol=0)


@pytest.mark.parametrize("rebalance", [0.0, 0.4, 1.0])
def test_class_weights_have_mean_one_and_are_larger_for_rare_classes(rebalance):
    frequency = torch.tensor([0.7, 0.2, 0.1])

    weights = class_weights(frequency, rebalance, max_weight=100)

    assert float((weights * frequency).sum()) == pytest.approx(1)
    torch.testing.assert_close(weights / weights[0], (frequency / 0.7) ** -rebalance)


def test_class_weights_are_limited():
    frequency = torch.tensor([0.9, 0.1 - 1e-6, 1e-6])

    limited = class_weights(frequency, 1.0, max_weight=2.0)

    unlimited = frequency**-1.0 / 3  # of mean 1
    torch.testing.assert_close(
        limited, unlimited.clamp_max(2) / (unlimited.clamp_max(2) * frequency).sum()
    )


def test_distillation_is_the_divergence_from_the_teacher():
    teacher = torch.tensor([0.5, 0.3, 0.2]).log().view(1, 3, 1, 1) + 7  # scores, not normalized
    student = torch.tensor([0.2, 0.2, 0.6]).log().view(1, 3, 1, 1).requires_grad_()
    teacher.requires_grad_()

    loss = distillation_loss(student, teacher)
    loss.backward()

    expected = 0.5 * math.log(0.5 / 0.2) + 0.3 * math.log(0.3 / 0.2) + 0.2 * math.log(0.2 / 0.6)
    assert loss.item() == pytest.approx(expected, abs=1e-6)
    assert distillation_loss(teacher, teacher).item() == pytest.approx(0, abs=1e-6)
    assert teacher.grad is None
    torch.testing.assert_close(student.grad.flatten(), torch.tensor([-0.3, -0.1, 0.4]))


def test_cross_entropy_is_lowest_for_the_target():
    classes, shares = torch.zeros(1, 4, 1, 1, dtype=torch.long), torch.full((1, 4, 1, 1), 0.25)
    weights = torch.ones(3)
    right, wrong = (torch.tensor(scores).view(1, 3, 1, 1) for scores in ([9.0, 0, 0], [0, 9.0, 0]))

    assert float(soft_cross_entropy(right, classes, shares, weights)) == pytest.approx(0, abs=1e-3)
    assert float(soft_cross_entropy(wrong, classes, shares, weights)) == pytest.approx(9, abs=1e-2)


def test_distances_are_means_over_all_elements():
    x, y = torch.tensor([[0.0, 3.0]]), torch.tensor([[1.0, 1.0]])

    assert float(distance(x, y, "l1")) == pytest.approx((1 + 2) / 2)
    assert float(distance(x, y, "l2")) == pytest.approx((1 + 4) / 2)
    assert float(distance(x, y, "smooth-l1")) == pytest.approx((0.5 + 1.5) / 2)


def test_different_shapes_are_refused():
    with pytest.raises(ValueError, match="equal shapes"):
        distance(torch.zeros(2, 3, 4, 4), torch.zeros(2, 1, 4, 4), "l1")
    with pytest.raises(ValueError, match="Choose one of: l1, l2, smooth-l1"):
        distance(torch.zeros(1), torch.zeros(1), "l3")


def pyramid(x: torch.Tensor) -> list[torch.Tensor]:
    """Features whose distances are easily computed by hand."""
    return [x, F.avg_pool2d(x, 2), x.mean((2, 3))]


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_the_feature_loss_is_the_sum_of_the_review(norm):
    x, y = torch.rand(2, 2, 3, 8, 8).unbind()

    loss = feature_loss(pyramid, x, y, norm=norm)

    power = {"l1": 1, "l2": 2}[norm]
    expected = sum(
        weight * np.mean(np.abs(one.numpy() - other.numpy()) ** power)
        for weight, one, other in zip((20, 70, 10), pyramid(x), pyramid(y), strict=True)
    )
    assert float(loss) == pytest.approx(float(expected), rel=1e-5)


def test_target_features_have_no_gradient():
    x, y = (torch.rand(1, 3, 8, 8, requires_grad=True) for _ in range(2))

    feature_loss(pyramid, x, y).backward()

    assert x.grad is not None and x.grad.abs().sum() > 0
    assert y.grad is None


def test_every_layer_needs_a_weight():
    with pytest.raises(ValueError, match="zip"):
        feature_loss(pyramid, torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 8), weights=(1, 2))


@pytest.mark.parametrize("probability", [0.001, 0.1, 0.4])
def test_noise_has_its_probability_and_amplitude(probability):
    gray, amplitude = torch.full((4, 1, 128, 128), 0.5), 30 / 255

    change = add_noise(gray, probability, amplitude, torch.Generator().manual_seed(0)) - gray

    hit, count = change[change != 0], change.numel()
    spread = math.sqrt(count * probability * (1 - probability))
    assert abs(len(hit) - count * probability) < 5 * spread
    assert hit.abs().max() <= amplitude
    # A uniform value within +-a has mean 0 and variance a^2 / 3.
    assert abs(float(hit.mean())) < 5 * amplitude / math.sqrt(3 * len(hit))
    assert float(hit.var()) == pytest.approx(amplitude**2 / 3, rel=0.5)


def test_noise_offsets_are_per_pixel_or_per_image():
    gray = torch.full((3, 1, 32, 32), 0.5)

    def offsets(**options: bool) -> list[int]:
        random = torch.Generator().manual_seed(1)
        noisy = add_noise(gray, 0.4, 0.1, random, **options)
        return [len(one[one != 0.5].unique()) for one in noisy]

    assert min(offsets()) > 300
    assert offsets(one_offset=True) == [1, 1, 1]


def test_the_noise_probability_can_differ_between_images():
    gray = torch.full((2, 1, 64, 64), 0.5)
    probability = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1)

    noisy = add_noise(gray, probability, 0.1, torch.Generator().manual_seed(0))

    assert (noisy[0] == 0.5).all() and (noisy[1] != 0.5).float().mean() > 0.99


def test_noise_is_reproducible():
    gray = torch.rand(1, 1, 8, 8)
    once, again, other = (
        add_noise(gray, 0.4, 0.1, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4)
    )

    assert torch.equal(once, again) and not torch.equal(once, other)


def test_noise_consistency_has_gradients_for_both_outputs():
    clean, noisy = (torch.rand(1, 2, 4, 4, requires_grad=True) for _ in range(2))

    loss = noise_consistency(clean, noisy)
    loss.backward()

    expected = 2 * (clean - noisy).detach() / clean.numel()
    assert float(loss.detach()) == pytest.approx(float((clean - noisy).detach().square().mean()))
    torch.testing.assert_close(clean.grad, expected)
    torch.testing.assert_close(noisy.grad, -expected)


def naive_colorfulness(rgb: np.ndarray) -> float:
    """Hasler and Suesstrunk 2003 for one image (3, H, W)."""
    red, green, blue = rgb
    rg, yb = red - green, (red + green) / 2 - blue
    return np.sqrt(rg.var() + yb.var()) + 0.3 * np.sqrt(rg.mean() ** 2 + yb.mean() ** 2)


def test_the_colorfulness_loss_uses_the_signed_measure():
    rgb = torch.rand(3, 3, 16, 16, dtype=torch.float64)

    loss = float(colorfulness_loss(rgb))

    assert loss == pytest.approx(1 - np.mean([naive_colorfulness(one.numpy()) for one in rgb]))


def test_the_colorfulness_gradient_is_finite_for_gray_images():
    rgb = torch.full((1, 3, 4, 4), 0.5, requires_grad=True)

    colorfulness_loss(rgb).backward()

    assert rgb.grad is not None and rgb.grad.isfinite().all()


def test_the_bce_loss_of_the_critic_is_goodfellows():
    real, fake = torch.randn(2, 1, 5, 5), torch.randn(2, 1, 3, 3)

    real_loss, fake_loss = critic_loss(real, fake, "bce")

    sure, doubtful = real.double().sigmoid(), fake.double().sigmoid()
    assert float(real_loss) == pytest.approx(float(-sure.log().mean()), rel=1e-5)
    assert float(fake_loss) == pytest.approx(float(-(1 - doubtful).log().mean()), rel=1e-5)


def test_label_smoothing_is_one_sided():
    real, fake = torch.randn(2, 1, 5, 5), torch.randn(2, 1, 5, 5)

    real_loss, fake_loss = critic_loss(real, fake, "bce", smoothing=0.1)

    labels = torch.full_like(real, 0.9)
    torch.testing.assert_close(real_loss, F.binary_cross_entropy_with_logits(real, labels))
    assert float(fake_loss) == float(critic_loss(real, fake, "bce")[1])


def test_the_smoothed_loss_is_lowest_at_its_label():
    logit = torch.tensor(math.log(0.9 / 0.1), requires_grad=True)

    critic_loss(logit, torch.zeros(1), "bce", smoothing=0.1)[0].backward()

    assert float(logit.grad) == pytest.approx(0, abs=1e-6)


def test_the_hinge_loss_is_zero_beyond_one():
    real, fake = torch.tensor([2.0, 1.0, 0.0, -1.0]), torch.tensor([-2.0, -1.0, 0.0, 3.0])

    real_loss, fake_loss = critic_loss(real, fake, "hinge")

    assert float(real_loss) == pytest.approx((0 + 0 + 1 + 2) / 4)
    assert float(fake_loss) == pytest.approx((0 + 0 + 1 + 4) / 4)
    assert float(generator_loss(fake, "hinge")) == pytest.approx(0.0)


def test_only_the_saturating_gradient_vanishes_for_a_certain_critic():
    slopes = {}
    for saturating in (False, True):
        logit = torch.tensor(-12.0, requires_grad=True)
        generator_loss(logit, "bce", saturating=saturating).backward()
        slopes[saturating] = float(logit.grad)

    assert slopes[False] == pytest.approx(-1, abs=1e-4)
    assert slopes[True] == pytest.approx(0, abs=1e-4) and slopes[True] < 0


def test_the_generator_losses_are_goodfellows():
    fake = torch.randn(2, 1, 5, 5, dtype=torch.float64)

    plain, saturating = (generator_loss(fake, "bce", saturating=way) for way in (False, True))

    assert float(plain) == pytest.approx(float(-fake.sigmoid().log().mean()))
    assert float(saturating) == pytest.approx(float((1 - fake.sigmoid()).log().mean()))


def test_unknown_adversarial_losses_are_refused():
    with pytest.raises(ValueError, match="no saturating form"):
        generator_loss(torch.zeros(1), "hinge", saturating=True)
    with pytest.raises(ValueError, match="Choose one of: bce, hinge"):
        critic_loss(torch.zeros(1), torch.zeros(1), "wasserstein")


AB = torch.cartesian_prod(torch.arange(-40.0, 41, 10), torch.arange(-40.0, 41, 10))


def test_nearest_classes_agree_with_a_naive_search():
    ab = torch.rand(2, 2, 3, 4) * 70 - 35

    classes, shares = encode_nearest(ab, AB, neighbors=5)

    for n, y, x in np.ndindex(2, 3, 4):
        apart = ((ab[n, :, y, x].double() - AB.double()) ** 2).sum(1)
        nearest = apart.argsort()[:5]
        gauss = torch.exp(-apart[nearest] / (2 * 5**2))
        assert classes[n, :, y, x].tolist() == nearest.tolist()
        torch.testing.assert_close(
            shares[n, :, y, x].double(), gauss / gauss.sum(), atol=1e-5, rtol=1e-4
        )


def test_a_color_has_ten_classes_by_default():
    classes, shares = encode_nearest(torch.zeros(1, 2, 2, 2), AB)

    assert classes.shape == shares.shape == (1, 10, 2, 2)
    torch.testing.assert_close(shares.sum(1), torch.ones(1, 2, 2))
    assert (AB[classes[0, 0]] == 0).all()


def test_the_smoothed_prior_is_a_blurred_histogram():
    counts = torch.rand(len(AB), dtype=torch.float64)
    counts[3] = 0

    prior = smooth_prior(counts, AB.double())

    expected = np.zeros(len(AB))
    for count, center in zip(counts.numpy(), AB.numpy(), strict=True):
        gauss = np.exp(-((AB.numpy() - center) ** 2).sum(1) / (2 * 5**2))
        expected += count * gauss / gauss.sum()
    np.testing.assert_allclose(prior, expected / expected.sum())
    assert prior[3] > 0


def test_zhangs_weights_have_mean_one_and_follow_equation_four():
    prior = torch.tensor([0.7, 0.2, 0.1, 0.0])

    weights = zhang_weights(prior, mix=0.5)

    expected = 1 / (0.5 * prior + 0.5 / 3)  # three classes occur
    assert float((weights * prior).sum()) == pytest.approx(1)
    torch.testing.assert_close(weights / weights[0], expected / expected[0])


def test_mix_one_gives_equal_weights():
    torch.testing.assert_close(zhang_weights(torch.tensor([0.9, 0.1]), mix=1.0), torch.ones(2))


def test_an_invalid_mix_is_refused():
    with pytest.raises(ValueError, match="between 0 and 1"):
        zhang_weights(torch.tensor([0.9, 0.1]), mix=2.0)
    with pytest.raises(ValueError, match="no pixels"):
        zhang_weights(torch.tensor([1.0, 0.0]), mix=0.0)


def test_gray_and_colored_images_are_distinguished():
    ab = torch.zeros(3, 2, 4, 4)
    ab[0, 1, 2, 2] = -5.1
    ab[1] = 5.0

    assert is_colored(ab).tolist() == [True, False, False]


def test_rebalanced_cross_entropy_agrees_with_the_naive_sum():
    torch.manual_seed(0)
    logits, weights = torch.randn(2, len(AB), 3, 2), torch.rand(len(AB)) + 0.5
    classes, shares = encode_nearest(torch.rand(2, 2, 3, 2) * 60 - 30, AB, neighbors=4)
    counted = torch.tensor([True, False])

    loss = strongest_cross_entropy(logits, classes, shares, weights, counted)

    total = 0.0
    for y, x in np.ndindex(3, 2):
        scores = logits[0, :, y, x].double().log_softmax(0)
        terms = [
            float(share) * float(scores[k])
            for k, share in zip(classes[0, :, y, x], shares[0, :, y, x], strict=True)
        ]
        total -= float(weights[classes[0, 0, y, x]]) * sum(terms)
    assert float(loss) == pytest.approx(total / 12, rel=1e-5)


def test_the_strongest_class_need_not_be_first():
    uv = torch.rand(1, 2, 3, 3) * 0.7 - 0.35
    logits, weights = torch.randn(1, CLASS_GRID.count, 3, 3), torch.rand(CLASS_GRID.count)
    classes, shares = encode_softly(uv, STEPS, ORIGIN, CLASS_GRID.shape)
    order = shares.argsort(1, descending=True)

    loss = strongest_cross_entropy(logits, classes, shares, weights)

    sorted_codes = classes.gather(1, order), shares.gather(1, order)
    torch.testing.assert_close(loss, strongest_cross_entropy(logits, *sorted_codes, weights))
    first = weights[classes.gather(1, order)[:, 0]]
    plain = [
        soft_cross_entropy(logits[..., y, x, None, None], classes[..., y, x, None, None],
                           shares[..., y, x, None, None], torch.ones_like(weights))
        for y, x in np.ndindex(3, 3)
    ]  # fmt: skip
    torch.testing.assert_close(loss, (first.flatten() * torch.stack(plain)).mean())

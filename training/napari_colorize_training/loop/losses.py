"""Losses as pure functions of tensors, with references to their equations.

First image losses (pixels, features, noise, colorfulness), then adversarial losses of critic and
generator, then color classes: soft encoding, class weights, and cross-entropy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_colorize_training.rng import Random, uniform

Norm = Literal["l1", "l2", "smooth-l1"]
CriticLoss = Literal["bce", "hinge"]

# IPOL review, eq. (7): the layers before VGG's last three poolings, finest first.
FEATURE_WEIGHTS = (20.0, 70.0, 10.0)
GRAY_LIMIT = 5.0  # CIELAB units, Zhang et al.'s program
FLOOR = 1e-12  # added under a square root: its gradient stays finite for images without color


def distance(x: Tensor, y: Tensor, norm: Norm, beta: float = 1.0) -> Tensor:
    """Return the mean distance between the elements of two tensors.

    Parameters
    ----------
    x, y : Tensor
        Tensors of equal shape.
    norm : {"l1", "l2", "smooth-l1"}
        Mean of |x - y|, of (x - y)^2, or of Huber's loss divided by `beta`.
    beta : float
        Difference at which "smooth-l1" changes from quadratic to linear.

    Raises
    ------
    ValueError
        If the shapes differ (broadcasting would hide a mistake) or there is no such norm.
    """
    if x.shape != y.shape:
        raise ValueError(f"x and y must have equal shapes, got {x.shape} and {y.shape}.")
    if norm == "l1":
        return F.l1_loss(x, y)
    if norm == "l2":
        return F.mse_loss(x, y)
    if norm == "smooth-l1":
        return F.smooth_l1_loss(x, y, beta=beta)
    raise ValueError(f"No norm is named {norm!r}. Choose one of: l1, l2, smooth-l1.")


def feature_loss(
    features: Callable[[Tensor], Sequence[Tensor]],
    x: Tensor,
    y: Tensor,
    weights: Sequence[float] = FEATURE_WEIGHTS,
    norm: Norm = "l1",
) -> Tensor:
    """sum_j weights_j distance(features_j(x), features_j(y)): IPOL review, eq. (7) without pixels.

    Parameters
    ----------
    features : callable
        Images `(N, 3, H, W)` to one tensor per layer, as many as there are weights.
    x, y : Tensor, shape (N, 3, H, W)
        Prediction and target; features of the target have no gradient.
    weights : sequence of float
        lambda_j.
    norm : {"l1", "l2", "smooth-l1"}
        "l1" in eq. (7); according to the review "l2" is about as good.
    """
    with torch.no_grad():
        targets = [layer.detach() for layer in features(y)]
    pairs = zip(weights, features(x), targets, strict=True)
    return torch.stack(
        [weight * distance(found, target, norm) for weight, found, target in pairs]
    ).sum()


def add_noise(
    gray: Tensor,
    probability: float | Tensor,
    amplitude: float,
    random: Random,
    *,
    one_offset: bool = False,
) -> Tensor:
    """Add noise to random pixels: x'_i = x_i + e_i u_i (IPOL review, eq. 8).

    e_i is 1 with `probability`, else 0; u_i is uniform within +-`amplitude`; all independent.

    Parameters
    ----------
    gray : Tensor, shape (N, 1, H, W)
        In [0, 1]; the result may exceed this range by `amplitude`.
    probability : float or Tensor of shape (N, 1, 1, 1)
        Probability that a pixel is changed; uniform in 0.001 to 0.4 per image in DeOldify.
    amplitude : float
        30 / 255 in DeOldify's program.
    random : torch.Generator, or one for each image
        On any device.
    one_offset : bool
        One u per image, as in DeOldify's program, instead of one per pixel.
    """
    shape = gray.shape[1:]
    chosen = uniform(random, gray, *shape) < probability
    offset = uniform(random, gray, *((1, 1, 1) if one_offset else shape))
    return gray + chosen * amplitude * (2 * offset - 1)


def noise_consistency(clean: Tensor, noisy: Tensor) -> Tensor:
    """Return mean (f(x) - f(x'))^2, the noise term of eq. (9) in the IPOL review.

    Both arguments are outputs of the network, and both have gradients. (According to the review
    DeOldify's program lacks the term and trains with noisy input only.)
    """
    return distance(clean, noisy, "l2")


def distillation_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the mean Kullback-Leibler divergence of the student's classes from the teacher's.

    Hinton et al. 2015 at temperature 1. Both are scores `(N, K, h, w)`; the teacher's have no
    gradient.
    """
    wanted = teacher.detach().log_softmax(1)
    return F.kl_div(student.log_softmax(1), wanted, reduction="none", log_target=True).sum(1).mean()


def colorfulness_loss(rgb: Tensor) -> Tensor:
    """Return the mean of 1 - CF over images; it falls with colorfulness CF.

    CF is the measure of Hasler and Suesstrunk 2003 of RGB `(N, 3, H, W)` in [0, 1], with *signed*
    opponents R - G and (R + G) / 2 - B. DDColor's loss takes their absolute values, and sums over
    the batch instead of averaging.
    """
    red, green, blue = rgb.flatten(2).unbind(1)  # (N, H W)
    opponents = torch.stack([red - green, (red + green) / 2 - blue], dim=1)
    spread = (opponents.var(-1, correction=0).sum(1) + FLOOR).sqrt()
    strength = (opponents.mean(-1).square().sum(1) + FLOOR).sqrt()
    return (1 - (spread + 0.3 * strength)).mean()


def critic_loss(
    real: Tensor, fake: Tensor, kind: CriticLoss, smoothing: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Return the losses of a critic for real and for generated images.

    Parameters
    ----------
    real, fake : Tensor
        Logits of any shape; large ones mean "real".
    kind : {"bce", "hinge"}
        Goodfellow et al. 2014: mean -log D and -log(1 - D). SAGAN: mean max(0, 1 -+ logit).
    smoothing : float
        One-sided label smoothing: real images are labeled 1 - `smoothing`, generated ones 0
        (Salimans et al. 2016; smoothing both would reward the generator for its present output).
        With "hinge" the same mixture of the losses of both labels.

    Returns
    -------
    real_loss, fake_loss : Tensor, shape ()
        Logged as `D_real` and `D_fake`.
    """
    real_label, fake_label = _label_losses(kind)
    real_loss = (1 - smoothing) * real_label(real).mean()
    if smoothing:
        real_loss = real_loss + smoothing * fake_label(real).mean()
    return real_loss, fake_label(fake).mean()


def generator_loss(fake: Tensor, kind: CriticLoss, saturating: bool = False) -> Tensor:
    """Return the adversarial loss of a generator.

    Parameters
    ----------
    fake : Tensor
        The critic's logits of any shape.
    kind : {"bce", "hinge"}
        Mean -log D(G), or of the negative logit.
    saturating : bool
        Mean log(1 - D(G)) instead, Goodfellow's minimax cost ("bce" only). It is below 0, and its
        gradient vanishes where the critic is certain.

    Raises
    ------
    ValueError
        If `saturating` is used with "hinge".
    """
    if kind == "hinge":
        if saturating:
            raise ValueError('The hinge loss has no saturating form; choose the kind "bce".')
        return -fake.mean()
    real_label, fake_label = _label_losses(kind)
    return -fake_label(fake).mean() if saturating else real_label(fake).mean()


def _label_losses(
    kind: CriticLoss,
) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    """Return the losses of logits with the label "real" and with the label "generated"."""
    if kind == "bce":
        return (lambda logit: F.softplus(-logit)), F.softplus  # -log D, -log(1 - D)
    if kind == "hinge":
        return (lambda logit: F.relu(1 - logit)), (lambda logit: F.relu(1 + logit))
    raise ValueError(f"No adversarial loss is named {kind!r}. Choose one of: bce, hinge.")


def encode_softly(
    uv: Tensor, steps: Tensor, origin: Tensor, shape: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Encode colors as shares of the four grid points around them.

    The shares are bilinear, so that their mean is the color itself. (Zhang et al. 2016,
    section 2.2, use a Gaussian over the nearest bins, whose mean is another color.)

    Parameters
    ----------
    uv : Tensor, shape (N, 2, H, W)
        Rec. 601 U and V.
    steps, origin : Tensor, shape (2,)
        Spacing and first point of the grid along U and V.
    shape : tuple of int
        Grid points along U and V.

    Returns
    -------
    classes, weights : Tensor, shape (N, 4, H, W)
        Index of each grid point (V varies fastest) and its share; shares sum to 1.
    """
    largest = uv.new_tensor(shape).view(1, 2, 1, 1) - 1
    position = (uv - origin.view(1, 2, 1, 1)) / steps.view(1, 2, 1, 1)
    position = position.clamp(min=torch.zeros_like(largest), max=largest - 1e-3)
    low = position.floor()
    share = position - low
    u, v = low.long().unbind(1)
    classes = torch.stack([(u + du) * shape[1] + v + dv for du in (0, 1) for dv in (0, 1)], 1)
    along_u, along_v = (torch.stack([1 - part, part], 1) for part in share.unbind(1))
    weights = (along_u.unsqueeze(2) * along_v.unsqueeze(1)).flatten(1, 2)
    return classes, weights


def encode_nearest(
    ab: Tensor, centers: Tensor, neighbors: int = 10, sigma: float = 5.0
) -> tuple[Tensor, Tensor]:
    """Encode colors as shares of the nearest classes: Zhang et al. 2016, section 2.2.

    Parameters
    ----------
    ab : Tensor, shape (N, 2, H, W)
        In the units of `centers`; CIELAB in the article.
    centers : Tensor, shape (K, 2)
        Color of each class.
    neighbors : int
        10 in their program, 5 in their text.
    sigma : float
        Standard deviation of the Gaussian that converts distances to shares.

    Returns
    -------
    classes, shares : Tensor, shape (N, neighbors, H, W)
        Nearest first; shares sum to 1.
    """
    points = ab.movedim(1, -1).flatten(0, -2)  # (N H W, 2)
    # The matrix product mode subtracts large numbers: ties between bins would be rounded away.
    distances = torch.cdist(points, centers.to(ab), compute_mode="donot_use_mm_for_euclid_dist")
    nearest, classes = distances.topk(neighbors, largest=False)
    shares = torch.softmax(-nearest.square() / (2 * sigma**2), dim=-1)
    size = (len(ab), *ab.shape[2:], neighbors)
    return classes.view(size).movedim(-1, 1), shares.view(size).movedim(-1, 1)


def smooth_prior(counts: Tensor, centers: Tensor, sigma: float = 5.0) -> Tensor:
    """Return class frequencies smoothed over neighbors: Zhang et al. 2016, section 2.2.

    Parameters
    ----------
    counts : Tensor, shape (K,)
        Number or share of pixels in each class.
    centers : Tensor, shape (K, 2)
        Color of each class.
    sigma : float
        Standard deviation of the Gaussian, in the units of `centers`.

    Returns
    -------
    Tensor, shape (K,)
        Probabilities with sum 1. The count of each class is distributed completely, also at the
        border of the gamut.
    """
    distances = torch.cdist(centers, centers, compute_mode="donot_use_mm_for_euclid_dist")
    spread = torch.softmax(-distances.square() / (2 * sigma**2), dim=1)  # from row to column
    prior = counts.to(spread) @ spread
    return prior / prior.sum()


def class_weights(frequency: Tensor, rebalance: float, max_weight: float) -> Tensor:
    """Return class weights frequency ** -rebalance, with mean 1 over the data.

    Weights are limited to `max_weight` before the mean is set to 1 again. (Zhang et al. 2016, eq.
    4, limit them by mixing the frequencies with a uniform distribution.)
    """
    present = frequency.clamp_min(1e-6)
    weights = present**-rebalance
    weights = weights / (frequency * weights).sum()
    weights = weights.clamp_max(max_weight)
    return weights / (frequency * weights).sum()


def zhang_weights(prior: Tensor, mix: float = 0.5) -> Tensor:
    """Return weights 1 / ((1 - mix) p + mix / Q) with mean 1: Zhang et al. 2016, eq. (4).

    Q is the number of classes that occur, as in their program. A class that does not occur has the
    weight of an extremely rare one.

    Parameters
    ----------
    prior : Tensor, shape (K,)
        p, with sum 1.
    mix : float
        lambda; 0: weights by rarity only; 1: equal weights.

    Raises
    ------
    ValueError
        If `mix` is not between 0 and 1, or is 0 although some class never occurs.
    """
    if not 0 <= mix <= 1:
        raise ValueError(f"mix must be between 0 and 1, got {mix}.")
    mixture = (1 - mix) * prior + mix / (prior > 0).sum()
    if not bool((mixture > 0).all()):
        raise ValueError("Some classes have no pixels: use mix above 0, or a smoothed prior.")
    return 1 / (mixture * (prior / mixture).sum())


def is_colored(ab: Tensor, limit: float = GRAY_LIMIT) -> Tensor:
    """Return whether images of CIELAB a and b `(N, 2, H, W)` have any color; bool `(N,)`.

    An image is gray if all |a| and |b| are at most `limit`; Zhang et al.'s program ignores it.
    """
    return ab.abs().flatten(1).amax(1) > limit


def soft_cross_entropy(logits: Tensor, classes: Tensor, shares: Tensor, weights: Tensor) -> Tensor:
    """Return the cross-entropy with soft targets, weighted by the mean weight of their classes.

    Zhang et al. 2016, eq. (2), with another weight per pixel. Logits are
    `(N, K, H, W)`; the result is the mean over pixels.
    """
    pixel = (weights[classes] * shares).sum(1)
    return (pixel * _cross_entropy(logits, classes, shares)).mean()


def strongest_cross_entropy(
    logits: Tensor,
    classes: Tensor,
    shares: Tensor,
    weights: Tensor,
    counted: Tensor | None = None,
) -> Tensor:
    """Return the cross-entropy weighted by the strongest class: Zhang et al. 2016, eq. (2), (3).

    Their program multiplies gradients by the weights and reports a loss without them; here the
    loss contains the weights, which gives the same gradients.

    Parameters
    ----------
    logits : Tensor, shape (N, K, H, W)
        Scores before the softmax.
    classes, shares : Tensor, shape (N, M, H, W)
        As returned by `encode_nearest` or `encode_softly`.
    weights : Tensor, shape (K,)
        Class weights.
    counted : Tensor, shape (N,), optional
        Factor of each image, such as `is_colored`. The mean is over all images, as in their
        program.
    """
    strongest = classes.gather(1, shares.argmax(1, keepdim=True)).squeeze(1)
    pixel = weights[strongest] * _cross_entropy(logits, classes, shares)  # (N, H, W)
    if counted is not None:
        pixel = pixel * counted.view(-1, 1, 1)
    return pixel.mean()


def _cross_entropy(logits: Tensor, classes: Tensor, shares: Tensor) -> Tensor:
    """Return -sum_k share_k log softmax(logits)_k for each pixel, (N, H, W)."""
    # Channels last, as in the convolution's output: a softmax over large strides is slow on a CPU.
    log_probabilities = F.log_softmax(logits.movedim(1, -1).float(), dim=-1)
    log_probabilities = log_probabilities.gather(-1, classes.movedim(1, -1))
    return -(shares.movedim(1, -1) * log_probabilities).sum(-1)

"""Losses as pure functions of tensors; each names its equation.

First what compares pictures (pixels, features, noise), then what critics and generators tell each
other, then classes of colours: how colours become shares of classes, what each class weighs, and
the cross-entropy of both.
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

# IPOL review, eq. (7): the layers before the last three poolings of VGG, finest first.
FEATURE_WEIGHTS = (20.0, 70.0, 10.0)
GRAY_LIMIT = 5.0  # CIELAB units, Zhang et al.'s program
FLOOR = 1e-12  # under a square root: its slope at a picture without colour stays finite


def distance(x: Tensor, y: Tensor, norm: Norm, beta: float = 1.0) -> Tensor:
    """How far two tensors of one shape are apart: a mean over all their numbers.

    Parameters
    ----------
    x, y : Tensor
        Of the same shape.
    norm : {"l1", "l2", "smooth-l1"}
        Mean of |x - y|, of (x - y)^2, or of Huber's loss divided by `beta`.
    beta : float
        Where "smooth-l1" goes from square to straight.

    Raises
    ------
    ValueError
        If the shapes differ (broadcasting would hide a mistake) or there is no such norm.
    """
    if x.shape != y.shape:
        raise ValueError(f"Only equal shapes can be compared, got {x.shape} and {y.shape}.")
    if norm == "l1":
        return F.l1_loss(x, y)
    if norm == "l2":
        return F.mse_loss(x, y)
    if norm == "smooth-l1":
        return F.smooth_l1_loss(x, y, beta=beta)
    raise ValueError(f"No norm is called {norm!r}. Choose one of: l1, l2, smooth-l1.")


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
        Pictures `(N, 3, H, W)` to one tensor per layer, as many as there are weights.
    x, y : Tensor, shape (N, 3, H, W)
        What is learned, and the truth; no gradient flows through the truth's features.
    weights : sequence of float
        lambda_j.
    norm : {"l1", "l2", "smooth-l1"}
        "l1" in eq. (7); the review finds "l2" about as good.
    """
    with torch.no_grad():
        aims = [layer.detach() for layer in features(y)]
    pairs = zip(weights, features(x), aims, strict=True)
    return torch.stack([weight * distance(one, aim, norm) for weight, one, aim in pairs]).sum()


def add_noise(
    gray: Tensor,
    probability: float | Tensor,
    amplitude: float,
    random: Random,
    *,
    one_offset: bool = False,
) -> Tensor:
    """x'_i = x_i + e_i u_i (IPOL review, eq. 8): some pixels are off by a little.

    e_i is 1 with `probability`, else 0; u_i is uniform within +-`amplitude`; all independent.
    DeOldify's program draws one u for all chosen pixels of a picture instead: `one_offset`.

    Parameters
    ----------
    gray : Tensor, shape (N, 1, H, W)
        In [0, 1]; the result may leave it by `amplitude`.
    probability : float or Tensor of shape (N, 1, 1, 1)
        Of a pixel to be changed; DeOldify draws it per picture between 0.001 and 0.4.
    amplitude : float
        30 / 255 in DeOldify's program.
    random : torch.Generator, or one for each picture
        Of any device.
    """
    shape = gray.shape[1:]
    chosen = uniform(random, gray, *shape) < probability
    offset = uniform(random, gray, *((1, 1, 1) if one_offset else shape))
    return gray + chosen * amplitude * (2 * offset - 1)


def noise_consistency(clean: Tensor, noisy: Tensor) -> Tensor:
    """mean (f(x) - f(x'))^2: what eq. (9) of the IPOL review adds to eq. (7).

    Both are outputs of the network, and gradient flows through both. (The review found the term
    left out of DeOldify's program, which trains on noisy input alone.)
    """
    return distance(clean, noisy, "l2")


def colorfulness_loss(rgb: Tensor) -> Tensor:
    """1 - CF, the mean over pictures: smaller where colours are stronger and more varied.

    CF is that of Hasler and Suesstrunk 2003, for RGB `(N, 3, H, W)` in [0, 1] and with *signed*
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
    """What a critic gets wrong about photographs, and about what a generator made.

    Parameters
    ----------
    real, fake : Tensor
        Logits of any shape; large ones say "photograph".
    kind : {"bce", "hinge"}
        Goodfellow et al. 2014: mean -log D and -log(1 - D). SAGAN: mean max(0, 1 -+ logit).
    smoothing : float
        One-sided: photographs are labelled 1 - `smoothing`, what was made stays 0 (Salimans et
        al. 2016; smoothing both would reward a generator for what it does already). With "hinge"
        the same mixture of both labels' losses.

    Returns
    -------
    real_loss, fake_loss : Tensor, shape ()
        Logged as `D_real` and `D_fake`; how they are added is the recipe's choice.
    """
    true, false = _verdicts(kind)
    real_loss = (1 - smoothing) * true(real).mean()
    if smoothing:
        real_loss = real_loss + smoothing * false(real).mean()
    return real_loss, false(fake).mean()


def generator_loss(fake: Tensor, kind: CriticLoss, saturating: bool = False) -> Tensor:
    """How little a critic was taken in by what a generator made.

    Parameters
    ----------
    fake : Tensor
        The critic's logits of any shape.
    kind : {"bce", "hinge"}
        Mean -log D(G), or of the negative logit.
    saturating : bool
        Mean log(1 - D(G)) instead, Goodfellow's minimax cost ("bce" only): below 0, and its
        gradient dies where the critic is sure.

    Raises
    ------
    ValueError
        If the hinge loss is to saturate.
    """
    if kind == "hinge":
        if saturating:
            raise ValueError('The hinge loss has no saturating form; choose the kind "bce".')
        return -fake.mean()
    true, false = _verdicts(kind)
    return -false(fake).mean() if saturating else true(fake).mean()


def _verdicts(kind: CriticLoss) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    """The losses of logits that should say "photograph", and of those that should not."""
    if kind == "bce":
        return (lambda logit: F.softplus(-logit)), F.softplus  # -log D, -log(1 - D)
    if kind == "hinge":
        return (lambda logit: F.relu(1 - logit)), (lambda logit: F.relu(1 + logit))
    raise ValueError(f"No critic's loss is called {kind!r}. Choose one of: bce, hinge.")


def encode_softly(
    uv: Tensor, steps: Tensor, origin: Tensor, shape: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Colours as mixtures of the four grid points around them.

    The weights are bilinear, so the mixture's mean is the colour itself. (Zhang et al. 2016,
    section 2.2, use a Gaussian over the nearest bins, whose mean is not.)

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
        Index of each grid point (V fastest) and its share; shares sum to 1.
    """
    last = uv.new_tensor(shape).view(1, 2, 1, 1) - 1
    place = (uv - origin.view(1, 2, 1, 1)) / steps.view(1, 2, 1, 1)
    place = place.clamp(min=torch.zeros_like(last), max=last - 1e-3)
    low = place.floor()
    share = place - low
    u, v = low.long().unbind(1)
    classes = torch.stack([(u + du) * shape[1] + v + dv for du in (0, 1) for dv in (0, 1)], 1)
    along_u, along_v = (torch.stack([1 - part, part], 1) for part in share.unbind(1))
    weights = (along_u.unsqueeze(2) * along_v.unsqueeze(1)).flatten(1, 2)
    return classes, weights


def encode_nearest(
    ab: Tensor, centers: Tensor, neighbours: int = 10, sigma: float = 5.0
) -> tuple[Tensor, Tensor]:
    """Colours as shares of the nearest classes: Zhang et al. 2016, section 2.2.

    Parameters
    ----------
    ab : Tensor, shape (N, 2, H, W)
        In the units of `centers`: CIELAB's there.
    centers : Tensor, shape (K, 2)
        A colour for each class.
    neighbours : int
        10 in their program, 5 in their text.
    sigma : float
        Of the Gaussian that turns distances into shares.

    Returns
    -------
    classes, shares : Tensor, shape (N, neighbours, H, W)
        Nearest first; shares sum to 1.
    """
    points = ab.movedim(1, -1).flatten(0, -2)  # (N H W, 2)
    # The other mode subtracts large numbers, and ties between bins come out in any order.
    apart = torch.cdist(points, centers.to(ab), compute_mode="donot_use_mm_for_euclid_dist")
    nearest, classes = apart.topk(neighbours, largest=False)
    shares = torch.softmax(-nearest.square() / (2 * sigma**2), dim=-1)
    size = (len(ab), *ab.shape[2:], neighbours)
    return classes.view(size).movedim(-1, 1), shares.view(size).movedim(-1, 1)


def smooth_prior(counts: Tensor, centers: Tensor, sigma: float = 5.0) -> Tensor:
    """How often each class is met, blurred over its neighbours: Zhang et al. 2016, section 2.2.

    Parameters
    ----------
    counts : Tensor, shape (K,)
        Pixels, or shares of them, that fell into each class.
    centers : Tensor, shape (K, 2)
        A colour for each class.
    sigma : float
        Of the Gaussian, in the units of `centers`.

    Returns
    -------
    Tensor, shape (K,)
        Probabilities, of sum 1. Each class hands on its count as a whole, at the rim as well.
    """
    apart = torch.cdist(centers, centers, compute_mode="donot_use_mm_for_euclid_dist")
    spread = torch.softmax(-apart.square() / (2 * sigma**2), dim=1)  # from row to column
    prior = counts.to(spread) @ spread
    return prior / prior.sum()


def class_weights(frequency: Tensor, rebalance: float, heaviest: float) -> Tensor:
    """Weights that make rare colours count: frequency ** -rebalance, of mean 1 over the data.

    Zhang et al. 2016, eq. (4), mix the frequencies with a uniform distribution instead of raising
    them to a power; both tame the rarest classes: here no weight passes `heaviest` before the mean
    is brought back to 1.
    """
    present = frequency.clamp_min(1e-6)
    weights = present**-rebalance
    weights = weights / (frequency * weights).sum()
    weights = weights.clamp_max(heaviest)
    return weights / (frequency * weights).sum()


def zhang_weights(prior: Tensor, mix: float = 0.5) -> Tensor:
    """1 / ((1 - mix) p + mix / Q), of mean 1 over the data: Zhang et al. 2016, eq. (4).

    Q counts the classes that occur, as their program does; a class that does not occur weighs as
    much as one that almost does not.

    Parameters
    ----------
    prior : Tensor, shape (K,)
        p, of sum 1.
    mix : float
        lambda: 0 weighs by rarity alone, 1 all alike.

    Raises
    ------
    ValueError
        If `mix` is not between 0 and 1, or is 0 though some class never occurs.
    """
    if not 0 <= mix <= 1:
        raise ValueError(f"mix must be between 0 and 1, got {mix}.")
    mixture = (1 - mix) * prior + mix / (prior > 0).sum()
    if not bool((mixture > 0).all()):
        raise ValueError("Some classes have no pixels; choose mix above 0, or smooth the prior.")
    return 1 / (mixture * (prior / mixture).sum())


def is_colored(ab: Tensor, limit: float = GRAY_LIMIT) -> Tensor:
    """Which pictures of CIELAB a and b `(N, 2, H, W)` have any colour; bool `(N,)`.

    A picture none of whose a and b passes `limit` is a gray photograph, from which Zhang et al.'s
    program learns nothing.
    """
    return ab.abs().flatten(1).amax(1) > limit


def soft_cross_entropy(logits: Tensor, classes: Tensor, shares: Tensor, weights: Tensor) -> Tensor:
    """Cross-entropy against soft classes, each pixel weighed by its classes' weights.

    Zhang et al. 2016, eq. (2), with the mean weight of a pixel's classes. Logits are
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
    """Zhang et al. 2016, eq. (2) and (3): each pixel weighed by its strongest class alone.

    Their program multiplies gradients by the weights and prints a loss without them; here the
    loss has them, and so has its gradient.

    Parameters
    ----------
    logits : Tensor, shape (N, K, H, W)
        Before the softmax.
    classes, shares : Tensor, shape (N, M, H, W)
        As `encode_nearest` or `encode_softly` give them.
    weights : Tensor, shape (K,)
        Of classes.
    counted : Tensor, shape (N,), optional
        Factor on each picture, such as `is_colored`. The mean is over all pictures nevertheless,
        as in the program.
    """
    strongest = classes.gather(1, shares.argmax(1, keepdim=True)).squeeze(1)
    pixel = weights[strongest] * _cross_entropy(logits, classes, shares)  # (N, H, W)
    if counted is not None:
        pixel = pixel * counted.view(-1, 1, 1)
    return pixel.mean()


def _cross_entropy(logits: Tensor, classes: Tensor, shares: Tensor) -> Tensor:
    """-sum_k share_k log softmax(logits)_k of each pixel, (N, H, W)."""
    # Channels last, as the convolution leaves them: a softmax over far strides is slow on a CPU.
    log_probabilities = F.log_softmax(logits.movedim(1, -1).float(), dim=-1)
    log_probabilities = log_probabilities.gather(-1, classes.movedim(1, -1))
    return -(shares.movedim(1, -1) * log_probabilities).sum(-1)

"""RegionNet: a colorization network that decides colors for regions instead of single pixels.

    gray ── EfficientNet-Lite0 ──┬────────────┬──────────────┬───────────────┐
                                1/32         1/16           1/8             1/4
                                 └─ 1x1 ─ + ─ 1x1             │               │
                                          │                  │               │
                                   3x3 convolution            │               │
                                   attention blocks           │               │
                                          └── bilinear x2 ── concat           │
                                                             │               │
                                                             ├─ bilinear x2 ── concat
                                                             │               │
                                                         key, value ─── query (pixels)
                                                                   │
                                                          color attention + 1x1
                                                                   │
                                                     mean along equal luminance
                                                                   │
                                                      357 color classes at 1/4

Self-attention at 1/16 sees the whole image. Color attention replaces a decoder of 3x3 convolutions
at 1/4: each pixel takes the features of its color from the cells at 1/8 that look like it and are
near. Pixels of one region attend to the same cells, so that they get the same color. Above 1/16
there are only 1x1 convolutions, so training may evaluate a sample of the pixels (hypercolumns;
Hariharan et al. 2015, Larsson et al. 2016), which costs a fraction of the whole decoder.

Classes and annealed mean follow Zhang et al. 2016, as in `compact`. In inference the logits are
averaged over near pixels of similar luminance, because colors rarely change where gray does not.
An image without contrast stays gray.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_colorize.networks.compact import CLASS_GRID, Sample
from napari_colorize.networks.efficientnet import EfficientNetLite0
from napari_colorize.networks.layers import smooth_along_luminance

FROZEN_BLOCKS = 3  # of the encoder, down to 1/8: edges and textures
MLP_RATIO = 2
HEAD_CHANNELS = 32  # of the attention blocks
LEAST_DEVIATION = 0.05  # of normalized features
HEAD_PIXELS = 1024  # per block: the scores of 357 classes take 1.5 MB
CONTRAST_CELL = 8  # px, in which noise averages out
# Standard deviation of the means of cells below which an image has no color, and from which it has
# all of it. 400 photographs have at least 0.049; a blank page or frame with noise less than 0.005.
NO_CONTRAST, ENOUGH_CONTRAST = 0.005, 0.02
REFERENCE_CHROMA = 0.1  # length of (U, V), which `chroma_power` leaves as it is


class AttentionBlock(nn.Module):
    """Self-attention over all positions and an MLP, each added to its input.

    The block of Vaswani et al. 2017 on a feature map of shape (N, C, H, W), with batch norm
    instead of layer norm.

    Parameters
    ----------
    channels : int
        Of input and output.
    heads : int
        Number of attention heads; divides `channels`.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        # `fuse` folds a norm into the convolution registered right before it: norms come first.
        self.norm1 = nn.BatchNorm2d(channels)
        self.norm2 = nn.BatchNorm2d(channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.proj = nn.Conv2d(channels, channels, 1)
        self.fc1 = nn.Conv2d(channels, MLP_RATIO * channels, 1)
        self.fc2 = nn.Conv2d(MLP_RATIO * channels, channels, 1)
        # Both branches begin at zero: an untrained block is the identity.
        nn.init.zeros_(self.proj.weight)
        nn.init.zeros_(self.fc2.weight)

    def forward(self, x: Tensor, self_attention: bool = True) -> Tensor:
        if self_attention:
            x = x + self.proj(self._attend(self.qkv(self.norm1(x))))
        return x + self.fc2(F.relu(self.fc1(self.norm2(x))))

    def weights_at(self, x: Tensor, row: int, column: int) -> Tensor:
        """Weights with which a position attends to all others, mean over heads, `(N, H, W)`."""
        height, width = x.shape[-2:]
        query, key, _ = self._tokens(self.qkv(self.norm1(x)))
        query = query[..., row * width + column, None, :].float()
        scores = (query * key.float()).sum(-1) * key.shape[-1] ** -0.5
        return scores.softmax(-1).mean(1).unflatten(-1, (height, width))

    def _tokens(self, qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key and value, each `(N, heads, H W, C / heads)`."""
        tokens = qkv.permute(0, 2, 3, 1).flatten(1, 2).unflatten(-1, (3, self.heads, -1))
        query, key, value = tokens.permute(2, 0, 3, 1, 4)
        return query, key, value

    def _attend(self, qkv: Tensor) -> Tensor:
        count, channels, height, width = qkv.shape
        seen = F.scaled_dot_product_attention(*self._tokens(qkv))
        seen = seen.transpose(1, 2).reshape(count, height, width, channels // 3)
        return seen.permute(0, 3, 1, 2)


class ColorAttention(nn.Module):
    """Attention from pixels to the cells of a map of half the resolution.

    The score of a pixel and a cell is the scaled product of query and key minus
    exp(log_reach) * d^2, where d is their distance in cells. Each head learns its own reach.

    Parameters
    ----------
    pixel_channels, cell_channels : int
        Channels of the two inputs.
    channels : int
        Channels of the output.
    heads, key_channels : int
        Number of heads, and channels of query and key in each of them.
    """

    def __init__(
        self, pixel_channels: int, cell_channels: int, channels: int, heads: int, key_channels: int
    ) -> None:
        super().__init__()
        self.heads, self.key_channels = heads, key_channels
        self.query = nn.Conv2d(pixel_channels, heads * key_channels, 1)
        self.key = nn.Conv2d(cell_channels, heads * key_channels, 1)
        self.value = nn.Conv2d(cell_channels, channels, 1)
        # Heads begin with reaches of 1.3 to 6 cells, the distances where exp(log_reach) d^2 = 1.
        self.log_reach = nn.Parameter(torch.linspace(-3.5, -0.5, heads))

    def forward(
        self, pixels: Tensor, cells: Tensor, places: Tensor, *, self_attention: bool = True
    ) -> Tensor:
        """Features of the color of each pixel.

        Parameters
        ----------
        pixels : Tensor, shape (N, C, h, w)
        cells : Tensor, shape (N, C', H, W)
        places : Tensor, shape (h, w, 2)
            Row and column of each pixel's center, in cells from the first cell's outer corner.
        self_attention : bool
            If False, every pixel takes the cell that it lies in.

        Returns
        -------
        Tensor, shape (N, channels, h, w)
        """
        value = self.value(cells)
        if not self_attention:
            row, column = places.floor().long().unbind(-1)
            return value[..., row, column]
        count, _, height, width = value.shape
        centers = _centers(height, width, value.device)
        query, key = self._heads(self.query(pixels)), self._heads(self.key(cells))
        # In float32, since squared distances lose their digits in half precision.
        query, key = query.float(), key.float()
        decay = self.log_reach.float().exp().view(-1, 1, 1)
        # -decay |p - c|^2 without |p|^2, which is the same for all cells of a pixel, is a product
        # of three more channels. So memory does not grow with pixels times cells.
        p, c = places.flatten(0, 1).to(query), centers.to(query)
        # The scale of the products is undone here: the fused kernel applies it to all channels.
        scale = self.key_channels**-0.5
        of_pixel = torch.cat([2 * p, -torch.ones_like(p[:, :1])], -1) * (decay / scale)
        of_cell = torch.cat([c, c.square().sum(-1, keepdim=True)], -1)
        values = self._heads(value).float()
        # The fused kernel needs as many channels in queries as in values.
        spare = max(0, values.shape[-1] - query.shape[-1] - 3)
        of_pixel, of_cell = F.pad(of_pixel, (0, spare)), F.pad(of_cell, (0, spare))
        query = torch.cat([query, of_pixel.expand(count, -1, -1, -1)], -1)
        key = torch.cat([key, of_cell.expand(count, self.heads, -1, -1)], -1)
        seen = F.scaled_dot_product_attention(query, key, values, scale=scale)
        seen = seen.transpose(1, 2).reshape(count, *pixels.shape[-2:], -1)
        return seen.permute(0, 3, 1, 2).to(value.dtype)

    def _heads(self, x: Tensor) -> Tensor:
        """(N, heads * C, h, w) to (N, heads, h * w, C)."""
        # The fused kernel needs the channels of a position side by side in memory, as they are in
        # the channels-last format.
        x = x.permute(0, 2, 3, 1).contiguous()
        return x.flatten(1, 2).unflatten(-1, (self.heads, -1)).transpose(1, 2)


def _centers(height: int, width: int, device: torch.device | None = None) -> Tensor:
    """Row and column of the center of each position of a map, (height * width, 2)."""
    rows = torch.arange(height, device=device) + 0.5
    columns = torch.arange(width, device=device) + 0.5
    return torch.stack(torch.meshgrid(rows, columns, indexing="ij"), -1).flatten(0, 1)


def _double(x: Tensor) -> Tensor:
    """Twice the height and width, bilinear."""
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def _convolution(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    """Convolution, ReLU and batch norm, in the order of DeOldify's decoder."""
    conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(conv, nn.ReLU(), nn.BatchNorm2d(outputs))


class RegionNet(nn.Module):
    """Gray (N, 1, H, W) in [0, 1] to U and V (N, 2, H / 4, W / 4); H and W multiples of 16.

    Parameters
    ----------
    temperature : float
        Of the softmax whose mean is U and V.
    vividness : float
        Factor on that mean, which is paler than the colors it is the mean of.
    commonness : float
        Logits are raised by this multiple of the logarithm of the frequency of each color.
    chroma_power : float
        Exponent of the chroma of that mean: above 1, pale colors become paler and strong ones
        stronger.
    smoothing : float
        Tolerance of `smooth_along_luminance` for the logits; 0 for none.
    width, blocks : int
        Channels at 1/16 (a multiple of 32), and number of attention blocks there.
    upsampled : tuple of int
        Channels that are enlarged to 1/8 and to 1/4.
    cell_width, pixel_width, color_width : int
        Channels at 1/8, at 1/4 and of the input of the head.
    color_heads, key_channels : int
        Of the color attention.
    dropout : float
        Share of the deepest channels that training leaves out.
    calibration : int
        Number of points of the curve from the error that the classes predict to the measured one.
    classifies_photographs : bool
        Whether there is a linear classifier of the encoder's features, see `forward`.
    """

    centers: Tensor
    temperature: Tensor
    vividness: Tensor
    commonness: Tensor
    chroma_power: Tensor
    smoothing: Tensor
    log_frequency: Tensor  # of each color class, set by training
    calibration: Tensor | None
    photograph_classifier: Tensor | None  # weights of `statistics`, then the bias

    def __init__(
        self,
        temperature: float = 1.0,
        *,
        vividness: float = 1.0,
        commonness: float = 0.0,
        chroma_power: float = 1.0,
        smoothing: float = 0.0,
        width: int = 192,
        blocks: int = 2,
        heads: int = 6,
        upsampled: Sequence[int] = (96, 64),
        cell_width: int = 160,
        pixel_width: int = 128,
        color_width: int = 128,
        color_heads: int = 4,
        key_channels: int = 16,
        dropout: float = 0.0,
        calibration: int = 0,
        classifies_photographs: bool = False,
    ) -> None:
        super().__init__()
        quarter, eighth, sixteenth, deepest = EfficientNetLite0.CHANNELS
        self.encoder = EfficientNetLite0()
        # Bring encoder features, which differ in scale by a factor of ten, to unit variance.
        self.feature_norms = nn.ModuleList(
            nn.BatchNorm2d(channels, affine=False) for channels in EfficientNetLite0.CHANNELS
        )
        self.dropout = nn.Dropout2d(dropout)
        self.reduce32 = nn.Conv2d(deepest, width, 1)
        self.reduce16 = nn.Conv2d(sixteenth, width, 1)
        self.conv16 = _convolution(width, width, 3)
        self.blocks = nn.ModuleList(
            AttentionBlock(width, width // HEAD_CHANNELS) for _ in range(blocks)
        )
        self.up8 = nn.Conv2d(width, upsampled[0], 1)
        self.conv8 = _convolution(upsampled[0] + eighth, cell_width, 1)
        self.up4 = nn.Conv2d(cell_width, upsampled[1], 1)
        self.conv4 = _convolution(upsampled[1] + quarter, pixel_width, 1)
        self.color_attention = ColorAttention(
            pixel_width, cell_width, color_width, color_heads, key_channels
        )
        self.local = nn.Conv2d(pixel_width, color_width, 1)
        self.head = nn.Conv2d(color_width, CLASS_GRID.count, 1)
        self.register_buffer("centers", CLASS_GRID.centers())
        self.register_buffer("temperature", torch.tensor(temperature))
        self.register_buffer("vividness", torch.tensor(vividness))
        self.register_buffer("commonness", torch.tensor(commonness))
        self.register_buffer("chroma_power", torch.tensor(chroma_power))
        self.register_buffer("smoothing", torch.tensor(smoothing))
        self.register_buffer("log_frequency", torch.zeros(CLASS_GRID.count))
        points = torch.zeros(2, calibration) if calibration else None
        self.register_buffer("calibration", points)
        weights = torch.zeros(2 * (sixteenth + deepest) + 1) if classifies_photographs else None
        self.register_buffer("photograph_classifier", weights)

    def forward(
        self, gray: Tensor, self_attention: bool = True, with_unlikeness: bool = False
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Predict U and V; `with_unlikeness`, also how unlike photographs the images are.

        The latter is float32 `(N,)`, above 0 for images unlike photographs, 1 far from them. It
        needs a classifier.
        """
        features = self.encode(gray)
        colors = self._head_colors(self._smoothed(self.decode(features, self_attention), gray))
        colors = colors * _contrast_factor(gray)
        if not with_unlikeness:
            return colors
        assert self.photograph_classifier is not None
        weights = self.photograph_classifier.float()
        return colors, self.statistics(features) @ weights[:-1] + weights[-1]

    def encode(self, gray: Tensor) -> tuple[Tensor, ...]:
        """The encoder's features at 1/4, 1/8, 1/16 and 1/32."""
        return self.encoder(gray.to(self.head.weight.dtype) * 2 - 1)

    def statistics(self, features: Sequence[Tensor]) -> Tensor:
        """Mean and log deviation of each channel at 1/16 and 1/32, float32 `(N, 864)`."""
        parts = []
        for norm, x in zip(self.feature_norms[2:], features[2:], strict=True):
            x = norm(x).float().flatten(2)
            # An addend, because the deviation of an even image is 0.
            parts += [x.mean(-1), (x.std(-1, correction=0) + LEAST_DEVIATION).log()]
        return torch.cat(parts, -1)

    def logits(
        self, gray: Tensor, self_attention: bool = True, sample: Sample | None = None
    ) -> Tensor:
        """Logits of the color classes, (N, 357, H / 4, W / 4).

        With `sample` (step, row, column) only of every step-th pixel in both directions, beginning
        at (row, column), and without smoothing.
        """
        features = self.encode(gray)
        if sample is None:
            # The head is linear, so that the mean of its input gives the mean of the logits.
            return self.head(self._smoothed(self.decode(features, self_attention), gray))
        return self.head(self.decode(features, self_attention, sample))

    def _smoothed(self, colors: Tensor, gray: Tensor) -> Tensor:
        """Input of the head, averaged over near pixels of similar luminance."""
        gray = gray.to(self.head.weight.dtype)
        return smooth_along_luminance(colors, gray, float(self.smoothing))

    def decode(
        self,
        features: Sequence[Tensor],
        self_attention: bool = True,
        sample: Sample | None = None,
    ) -> Tensor:
        """Input of the head from the encoder's features at 1/4, 1/8, 1/16 and 1/32."""
        f4, f8, f16, f32 = (norm(x) for norm, x in zip(self.feature_norms, features, strict=True))
        deepest = self.reduce32(self.dropout(f32))
        # One cell too many where the side at 1/16 is odd.
        x = self.reduce16(f16) + _double(deepest)[..., : f16.shape[-2], : f16.shape[-1]]
        x = self.conv16(F.relu(x))
        for block in self.blocks:
            x = block(x, self_attention)
        cells = self.conv8(torch.cat([F.relu(_double(self.up8(x))), f8], dim=1))
        x = _double(self.up4(cells))
        height, width = f4.shape[-2:]
        places = _centers(height, width, f4.device).unflatten(0, (height, width)) / 2
        if sample is not None:
            step, row, column = sample
            x, f4 = x[..., row::step, column::step], f4[..., row::step, column::step]
            places = places[row::step, column::step]
        pixels = self.conv4(torch.cat([F.relu(x), f4], dim=1))
        x = self.color_attention(pixels, cells, places, self_attention=self_attention)
        return F.relu(x + self.local(pixels))

    def expected(self, logits: Tensor) -> Tensor:
        """Annealed mean of the colors, made more vivid: U and V (N, 2, H / 4, W / 4)."""
        scores = logits.permute(0, 2, 3, 1).float()
        scores = scores + self.commonness.float() * self.log_frequency.float()
        return self._vivid(self._mean(scores / self.temperature.float())).permute(0, 3, 1, 2)

    def _head_colors(self, x: Tensor) -> Tensor:
        """`expected(head(x))` without logits of the whole image.

        The head has many channels: as blocks of pixels they stay in the cache, and temperature and
        frequencies are part of its weights.
        """
        assert self.head.bias is not None
        prior = self.commonness.float() * self.log_frequency.float()
        temperature = self.temperature.float()
        weight = (self.head.weight.float().flatten(1) / temperature).to(x.dtype)
        bias = ((self.head.bias.float() + prior) / temperature).to(x.dtype)
        pixels = x.permute(0, 2, 3, 1)
        step = max(1, HEAD_PIXELS // x.shape[3])
        # Not `split`: the exporter to ONNX counts a shorter last block as a full one.
        blocks = (pixels[:, top : top + step] for top in range(0, x.shape[2], step))
        means = [self._mean(F.linear(block, weight, bias)) for block in blocks]
        return self._vivid(torch.cat(means, dim=1)).permute(0, 3, 1, 2)

    def _mean(self, scores: Tensor) -> Tensor:
        """Mean of the colors of the classes, (..., 357) to (..., 2)."""
        return torch.softmax(scores.float(), dim=-1) @ self.centers.float()

    def _vivid(self, mean: Tensor) -> Tensor:
        chroma = torch.linalg.vector_norm(mean, dim=-1, keepdim=True).clamp_min(1e-6)
        power = (chroma / REFERENCE_CHROMA) ** (self.chroma_power.float() - 1)
        return self.vividness.float() * power * mean

    def layer_groups(self) -> list[list[nn.Module]]:
        """Early encoder, late encoder and decoder, in this order."""
        encoder = self.encoder
        early: list[nn.Module] = [encoder.conv_stem, encoder.bn1]
        early += encoder.blocks[:FROZEN_BLOCKS]
        own = [part for name, part in self.named_children() if name != "encoder"]
        return [early, [*encoder.blocks[FROZEN_BLOCKS:]], own]


def _contrast_factor(gray: Tensor) -> Tensor:
    """Factor on the colors, float32 `(N, 1, 1, 1)`: 0 for an even image, 1 with normal contrast.

    There is nothing to recognize in a blank page or frame; the network would take it for sky.
    """
    cells = F.avg_pool2d(gray.float(), CONTRAST_CELL)
    contrast = cells.flatten(1).std(-1, correction=0)
    share = (contrast - NO_CONTRAST) / (ENOUGH_CONTRAST - NO_CONTRAST)
    return share.clamp(0, 1).view(-1, 1, 1, 1)


def build_region(state: Mapping[str, Tensor]) -> RegionNet:
    """An untrained network with the keys and shapes of a state dict."""

    def channels(name: str) -> int:
        return state[f"{name}.weight"].shape[0]

    color_heads = state["color_attention.log_reach"].shape[0]
    width = channels("conv16.0")
    return RegionNet(
        width=width,
        blocks=sum(key.endswith(".qkv.weight") for key in state),
        upsampled=(channels("up8"), channels("up4")),
        cell_width=channels("conv8.0"),
        pixel_width=channels("conv4.0"),
        color_width=channels("local"),
        color_heads=color_heads,
        key_channels=channels("color_attention.key") // color_heads,
        calibration=state["calibration"].shape[1] if "calibration" in state else 0,
        classifies_photographs="photograph_classifier" in state,
    )

"""Analysis of predictions: how reliable are the colors, and what did the network attend to.

- `attention`: self-attention weights of one pixel;
- `expected_error`: the CIEDE2000 error that a model expects of its own colors;
- `disagreement`: CIEDE2000 differences between several predictions;
- `maps`: the three above and uncolored pixels as colored maps with a sentence;
- `colormaps`: perceptually uniform colormaps.
"""

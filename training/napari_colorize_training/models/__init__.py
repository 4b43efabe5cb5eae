"""Networks for training.

- `backbones`: pretrained encoders and feature networks from local files;
- `critics`: discriminators of adversarial training;
- `adapt`: frozen layers, low-rank adapters, EMA;
- `export`: a trained network as a safetensors file.
"""

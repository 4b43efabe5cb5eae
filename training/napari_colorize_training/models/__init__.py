"""Networks for training: pretrained encoders, critics, adapters, export."""

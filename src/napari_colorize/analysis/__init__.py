"""Analysis of predictions: self-attention maps, expected error, disagreement and their colors."""

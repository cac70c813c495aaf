"""Variational pruning of units and layers during training, aware of what they cost."""

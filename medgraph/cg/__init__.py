"""Compositional generalization: which subsets combine to a target, and whether training on them helps."""

"""Image classifiers: a vision tower with a linear head, fine-tuned on the labels of a corpus."""

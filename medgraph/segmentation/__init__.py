"""Segmentation: a vision tower under a decoder, both trained on images with masks."""

"""Mixes: what is done to a whole training batch of images and class probabilities, and the loss that goes with it."""

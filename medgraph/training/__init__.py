"""Training: stages, recipes, checkpoints and whole runs."""

"""Scores that can be trusted, compared and computed again: predictions, protocols, statistics, controls, results."""

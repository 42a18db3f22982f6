"""Language models that are asked, not trained: endpoints, local models, a journal of their answers, checked JSON."""

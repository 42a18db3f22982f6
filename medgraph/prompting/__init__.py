"""Few-shot classification with dual encoders: learnt prompts and adapters on frozen features."""

"""Vision towers, projectors, language models, and the MedVLM that joins them."""

"""Dual encoders trained by contrast on images with texts: CLIP and PubMedCLIP, ConVIRT, MGCA, any alignment head."""

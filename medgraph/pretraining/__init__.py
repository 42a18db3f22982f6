"""Self-supervised pre-training of vision towers on images without labels: LVM-Med, and what it is compared with."""

"""``python -m lightning_app …`` is ``medgraph …``."""

from __future__ import annotations

import sys

from medgraph.cli import main

if __name__ == "__main__":
    sys.argv[0] = "python -m lightning_app"
    main()

"""Alignment losses and what they are made of: graphs, graph encoders, matching, gradients, heads."""

from __future__ import annotations

from medgraph.alignment.registry import HEADS, head_class, register_head

__all__ = ["HEADS", "head_class", "register_head"]

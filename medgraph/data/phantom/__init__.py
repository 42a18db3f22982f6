"""Synthetic medical-like images with independent generative factors; see docs/phantom.md. Not for clinical use."""

from medgraph.data.phantom.contact_sheet import contact_sheet
from medgraph.data.phantom.corpus import build_phantom
from medgraph.data.phantom.factors import AREAS, FINDINGS, MODALITIES, Factors, FactorSpace
from medgraph.data.phantom.render import render

__all__ = ["AREAS", "FINDINGS", "MODALITIES", "FactorSpace", "Factors", "build_phantom", "contact_sheet", "render"]

"""MedGraph's command line. An abandoned distribution, lightning-app, has a package of the same name: see the marker."""

__medgraph__ = True
"""`medgraph.cli` checks that the package it found is this one."""

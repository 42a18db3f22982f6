"""MedGraph."""

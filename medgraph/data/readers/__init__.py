"""Readers of published question-answering sets and of your own data; each turns its configuration into a `Corpus`."""

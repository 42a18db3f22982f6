"""Published scoring protocols of medical VQA by name and to the digit, and the strict one beside them.

The same answers score 48.5 or 72.7 depending on whose script runs; `score_protocol` says which script it was.
"""

from medgraph.evaluation.protocols.protocol import Figure, Protocol, ProtocolScore
from medgraph.evaluation.protocols.registry import PROTOCOLS, get_protocol, score_protocol

__all__ = ["PROTOCOLS", "Figure", "Protocol", "ProtocolScore", "get_protocol", "score_protocol"]

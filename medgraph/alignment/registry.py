"""Names of alignment heads. Import-light: knowing the names does not import torch, choosing one does."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from medgraph.alignment.head import AlignmentHead

Head = TypeVar("Head", bound="type[AlignmentHead]")

#: Head name → ``"module:Class"``.
HEADS: dict[str, str] = {
    "consensus": "medgraph.alignment.heads.consensus:ConsensusHead",
    "convirt": "medgraph.alignment.heads.convirt:ConVIRTHead",
    "exgra": "medgraph.alignment.heads.exgra:ExGraHead",
    "infonce": "medgraph.alignment.heads.infonce:InfoNCEHead",
    "logra": "medgraph.alignment.heads.logra:LoGraHead",
    "medslip": "medgraph.alignment.heads.medslip:MeDSLIPHead",
    "mgca": "medgraph.alignment.heads.mgca:MGCAHead",
    "none": "medgraph.alignment.heads.none:NoAlignmentHead",
    "ot": "medgraph.alignment.heads.ot:TokenOTHead",
    "relational": "medgraph.alignment.heads.relational:RelationalHead",
    "siglip": "medgraph.alignment.heads.siglip:SigLIPHead",
    "soft_infonce": "medgraph.alignment.heads.soft_infonce:SoftInfoNCEHead",
    "surgvlp": "medgraph.alignment.heads.surgvlp:SurgVLPHead",
    "uot": "medgraph.alignment.heads.uot:TokenUOTHead",
    "vlap": "medgraph.alignment.heads.vlap:VLAPHead",
}


def register_head(name: str) -> Callable[[Head], Head]:
    """Give a head class a short name, so that ``alignment=<name>`` finds it once its module is imported.

    Args:
        name: the new name; letters, digits and underscores.

    Returns:
        A class decorator that returns the class unchanged.

    Raises:
        ValueError: if the name is not an identifier, or belongs to another class already.

    Example:
        >>> from medgraph.alignment.head import AlignmentHead
        >>> @register_head("my_head")
        ... class MyHead(AlignmentHead): ...
        >>> HEADS.pop("my_head").endswith(":MyHead")
        True
    """
    if not name.isidentifier():
        raise ValueError(f"head name {name!r} is not an identifier; use letters, digits and underscores")

    def register(head: Head) -> Head:
        target = f"{head.__module__}:{head.__qualname__}"
        if HEADS.setdefault(name, target) != target:
            raise ValueError(f"head name {name!r} is taken by {HEADS[name]}; choose another one")
        return head

    return register


def head_class(name: str) -> type[AlignmentHead]:
    """Find a head class by its registered name or its dotted path.

    Args:
        name: a key of :data:`HEADS`, or ``"my_pkg.my_file.MyHead"``.

    Returns:
        The class, not yet constructed.

    Raises:
        ValueError: if nothing has this name, or what has it is not an ``AlignmentHead``.

    Example:
        >>> head_class("infonce").__name__
        'InfoNCEHead'
    """
    from medgraph.alignment.head import AlignmentHead

    if name in HEADS:
        module_name, _, class_name = HEADS[name].partition(":")
    elif "." in name:
        module_name, _, class_name = name.rpartition(".")
    else:
        close = difflib.get_close_matches(name, HEADS, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        known = ", ".join(sorted(HEADS))
        raise ValueError(
            f"no alignment head is called {name!r}{hint} Known: {known}; or give a path like pkg.file.Class"
        )
    try:
        found = getattr(importlib.import_module(module_name), class_name)
    except (ModuleNotFoundError, AttributeError) as error:
        raise ValueError(f"cannot import alignment head {name!r}: {error}") from error
    if not (isinstance(found, type) and issubclass(found, AlignmentHead)):
        raise ValueError(f"{name!r} is not a subclass of medgraph.alignment.head.AlignmentHead")
    return found

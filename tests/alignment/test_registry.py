from __future__ import annotations

import subprocess
import sys

import pytest

from medgraph.alignment.head import AlignmentHead
from medgraph.alignment.registry import HEADS, head_class, register_head


@pytest.mark.parametrize("name", sorted(HEADS))
def test_every_name_leads_to_a_head_that_remembers_its_options(name):
    head = head_class(name)()
    assert isinstance(head, AlignmentHead)
    assert type(head)(**head.options()).options() == head.options()


def test_a_dotted_path_works_without_registration():
    assert head_class("medgraph.alignment.heads.none.NoAlignmentHead") is head_class("none")


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="did you mean 'exgra'"):
        head_class("exgraa")
    with pytest.raises(ValueError, match="cannot import"):
        head_class("medgraph.alignment.heads.nothing.Head")
    with pytest.raises(ValueError, match="not a subclass"):
        head_class("torch.nn.Linear")


def test_names_can_be_added_but_not_taken(monkeypatch):
    monkeypatch.setitem(HEADS, "taken", "somewhere:Else")

    class Mine(AlignmentHead): ...

    with pytest.raises(ValueError, match="taken"):
        register_head("taken")(Mine)
    with pytest.raises(ValueError, match="identifier"):
        register_head("my-head")


def test_listing_the_names_does_not_import_torch():
    code = (
        "import sys, medgraph.alignment; assert 'exgra' in medgraph.alignment.HEADS; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

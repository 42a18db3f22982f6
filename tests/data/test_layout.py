import torch

from medgraph.data.collate import TokenBatch
from medgraph.data.conversation import IGNORE
from medgraph.data.layout import Layout


def test_a_layout_finds_real_tokens_and_their_positions():
    mask = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1], [1, 0, 0, 0]]).bool()
    layout = Layout.of(mask)
    slow = [(row, t) for row in range(3) for t in range(4) if mask[row, t]]
    assert layout.real.tolist() == [4 * row + t for row, t in slow]
    assert layout.positions.tolist() == [t for _, t in slow]
    assert layout.lengths.tolist() == [2, 4, 1]
    assert layout.longest == 4
    padded = torch.randn(3, 4, 5) * mask.unsqueeze(-1)
    assert torch.equal(layout.take(padded), padded[mask])
    assert torch.equal(layout.put(layout.take(padded)), padded)


def test_positions_count_from_the_first_real_token_of_left_padded_sequences():
    assert Layout.of(torch.tensor([[0, 0, 1, 1], [1, 1, 1, 1]]).bool()).positions.tolist() == [0, 1, 0, 1, 2, 3]


def test_a_batch_of_tokens_finds_its_supervised_tokens_on_the_cpu():
    labels = torch.tensor([[5, IGNORE, 7], [IGNORE, 8, 9]])  # nothing predicts a first token
    batch = TokenBatch(torch.ones_like(labels), labels > IGNORE - 1, labels)
    assert batch.supervised.tolist() == [2, 4, 5]
    assert TokenBatch(batch.ids, batch.mask).supervised is None
    moved = batch.to(torch.device("meta"))
    assert moved.supervised.device == moved.layout.real.device == moved.labels.device == torch.device("meta")
    assert moved.layout.longest == 3
    assert batch.ids.device == torch.device("cpu")

from medgraph.training.logging import Clock


def test_seconds_of_steps_go_on_where_a_checkpoint_stopped():
    clock = Clock()
    clock.load_state_dict({"seconds": 1000.0})
    clock.on_train_batch_start(None, None, None, 0)
    clock.on_train_batch_end(None, None, None, None, 0)
    assert clock.totals["seconds"] > 1000
    assert clock.state_dict() == clock.totals
    assert clock.state_dict() is not clock.totals

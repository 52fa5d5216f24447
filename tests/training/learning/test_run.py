"""Checkpoints, the log and the learning rate of a run, with a network of two numbers."""

import json

import pytest
import torch
from torch import nn

from longtake.models.errors import CheckpointError, NotFiniteError
from training.learning import run
from training.learning.optim import FlatOptimizer
from training.learning.run import (
    Training,
    check_resumable,
    rate_scale,
    read_checkpoint,
    state_digest,
)

RECIPE = {"steps": 8, "seed": 3}


def training(recipe=RECIPE, shards=2):
    network = nn.Linear(2, 1, bias=False)
    nn.init.constant_(network.weight, 0.5)

    def loss(shard, step):
        x = torch.randn(5, 2, generator=torch.Generator().manual_seed(10 * step + shard))
        error = (network(x) - x.sum(1, keepdim=True)).square().mean()
        return error, error.detach()

    losses = [lambda step, shard=shard: loss(shard, step) for shard in range(shards)]
    return Training(recipe, FlatOptimizer(network, 0.02, 0.02), losses)


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def scores(of):
    return {"loss": of.average}


def test_a_run_that_is_killed_makes_the_same_steps_again(tmp_path, monkeypatch):
    straight, killed = training(), training()
    straight.finish(tmp_path / "straight.safetensors", scores, every=2)

    monkeypatch.setattr(run, "SAVE_EVERY", -1.0)  # after each step
    path = tmp_path / "killed.safetensors"
    killed.losses[0], own = None, killed.losses[0]

    def kill_at_five(step):
        if step == 5:
            raise KeyboardInterrupt
        return own(step)

    killed.losses[0] = kill_at_five
    with pytest.raises(KeyboardInterrupt):
        killed.finish(path, scores, every=2)
    assert read_checkpoint(path)[0]["step"] == 5

    training().finish(path, scores, every=2)
    expected, found = (read_checkpoint(tmp_path / f"{name}.safetensors")[0] for name in
                       ("straight", "killed"))  # fmt: skip
    assert expected["step"] == 8
    for name, value in expected.items():
        assert torch.equal(value, found[name]), name
    gradients = {line["step"]: line["gradient"] for line in lines(path.with_suffix(".jsonl"))}
    assert gradients == {
        line["step"]: line["gradient"] for line in lines(tmp_path / "straight.jsonl")
    }
    assert list(gradients) == [2, 4, 6, 8]


def test_the_last_step_is_logged_and_saved(tmp_path):
    path = tmp_path / "run.safetensors"
    training({"steps": 3}).finish(path, scores, every=100)
    assert [line["step"] for line in lines(tmp_path / "run.jsonl")] == [3]
    state, recipe = read_checkpoint(path)
    assert (state["step"], recipe) == (3, {"steps": 3})
    assert not list(tmp_path.glob("*.new"))


def test_the_average_is_a_running_mean():
    one = training(shards=1)
    shown = []
    loss_of = one.losses[0]
    one.losses = [lambda step: shown.append(loss_of(step)) or shown[-1]]
    for _ in range(3):
        one.step()
    a, b, c = (loss.item() for loss, _ in shown)
    assert one.average == pytest.approx(0.98 * (0.98 * a + 0.02 * b) + 0.02 * c)


def test_the_rate_rises_stays_and_falls():
    assert rate_scale(0.0, 0) == pytest.approx(1 / 40)
    assert rate_scale(0.0, 19) == pytest.approx(20 / 40)
    assert rate_scale(0.0, 39) == rate_scale(0.4, 10_000) == 1
    assert rate_scale(0.7, 10_000) == pytest.approx(0.5)
    assert rate_scale(0.999, 10_000) == rate_scale(1.0, 10_000) == 0.02


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "run.safetensors"
    one = training()
    one.step()
    one.save(path)
    return path


def refusal(path, recipe=RECIPE):
    with pytest.raises(CheckpointError) as caught:
        check_resumable(path, recipe)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_checkpoint_that_was_cut_short_is_refused(checkpoint):
    checkpoint.write_bytes(checkpoint.read_bytes()[:-3])
    assert "run.safetensors is damaged" in refusal(checkpoint)
    assert refusal(checkpoint).endswith("Delete it to start over.")


def test_an_empty_checkpoint_is_refused(checkpoint):
    checkpoint.write_bytes(b"")
    assert "run.safetensors is damaged" in refusal(checkpoint)


def test_a_checkpoint_that_is_not_there_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="there is no checkpoint .*none.safetensors"):
        read_checkpoint(tmp_path / "none.safetensors")


def test_one_wrong_bit_is_refused(checkpoint):
    data = bytearray(checkpoint.read_bytes())
    data[-1] ^= 1
    checkpoint.write_bytes(data)
    assert "its checksum does not match" in refusal(checkpoint)


def test_a_tensor_of_another_name_is_another_state():
    one = torch.arange(3.0)
    assert state_digest({"a": one, "b": one + 1}) == state_digest({"b": one + 1, "a": one})
    assert state_digest({"a": one}) != state_digest({"b": one})
    assert state_digest({"a": one}) != state_digest({"a": one + 1})


def test_a_kill_while_writing_leaves_the_old_checkpoint(checkpoint, monkeypatch):
    before = checkpoint.read_bytes()

    def killed(state, path, metadata):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "save_file", killed)
    with pytest.raises(KeyboardInterrupt):
        training().save(checkpoint)
    assert checkpoint.read_bytes() == before


def test_other_weights_are_refused(tmp_path, checkpoint):
    path = tmp_path / "other.safetensors"
    run.save_file({"a": torch.zeros(1)}, path)
    assert "is not a checkpoint of this trainer" in refusal(path)
    run.save_file({"a": torch.zeros(1)}, path, {"run": "[]"})
    assert "is not a checkpoint of this trainer" in refusal(path)


def test_another_recipe_is_refused_but_another_length_is_not(checkpoint):
    check_resumable(checkpoint, RECIPE | {"steps": 20})
    check_resumable(checkpoint.with_name("none.safetensors"), {"seed": 4})
    assert "of a run with seed 3, not 4. Ask for the same" in refusal(checkpoint, {"seed": 4})
    assert "with rate None, not 2" in refusal(checkpoint, RECIPE | {"rate": 2})


def test_a_gradient_that_is_not_finite_ends_the_run_and_leaves_the_checkpoint(checkpoint):
    before = checkpoint.read_bytes()
    one = training()
    one.losses = [lambda step: (one.optimizer.parameters[0].sum() * float("nan"), torch.zeros(()))]
    with pytest.raises(NotFiniteError, match="the gradient of step 1 is nan"):
        one.finish(checkpoint, scores, every=1)
    assert checkpoint.read_bytes() == before

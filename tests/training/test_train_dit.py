"""The transformer's trainer: noise levels, loss, and that a run goes on exactly where it was."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn.functional import avg_pool2d

from longtake.models.attention import exact
from longtake.models.wan.config import DiTConfig
from longtake.models.wan.dit import WanDiT
from training import train_dit
from training.learning import windows
from training.learning.windows import Batch, Form
from training.shipped import WEIGHTS
from training.text import SIZES, TextEncoder, shipped_text_encoder
from training.train_dit import (
    SETTLED,
    SHIFT,
    DiTRecipe,
    WindowShard,
    dit_training,
    draw_levels,
    read_prompts,
    velocity_loss,
)

SMALL = (Form(3, 32, 32, 0.6), Form(2, 32, 48, 0.4))
RECIPE = DiTRecipe(steps=10, windows=2, pool=7)
CONFIG = DiTConfig(
    width=24,
    depth=1,
    heads=2,
    mlp_width=32,
    in_channels=3,
    out_channels=3,
    text_width=12,
    text_length=64,
    frame_levels=True,
)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    for module in (windows, train_dit):
        monkeypatch.setattr(module, "FORMS", SMALL)
    monkeypatch.setattr(train_dit, "HEAD_START", 4)


@pytest.fixture(scope="module")
def tokenizer():
    return shipped_text_encoder(WEIGHTS / "text_encoder.safetensors").spiece_model


@pytest.fixture
def model(tokenizer):
    torch.manual_seed(0)
    sizes = SIZES | {"d_model": 12, "d_kv": 4, "d_ff": 16, "num_heads": 3, "num_layers": 1}
    return nn.ModuleDict(
        {"dit": WanDiT(CONFIG, attention=exact), "text": TextEncoder(tokenizer, sizes)}
    )


def encode(pixels):
    """Every fourth frame, in cells of 16 pixels."""
    frames = pixels[:, :, ::4].transpose(1, 2).flatten(0, 1)
    return avg_pool2d(frames, 16).unflatten(0, (len(pixels), -1)).transpose(1, 2)


def batch(prompts, frames=3, cut=None):
    b = len(prompts)
    return Batch(
        latents=torch.randn(b, 3, frames, 2, 2, generator=torch.Generator().manual_seed(1)),
        known=torch.zeros(b, frames, dtype=torch.bool),
        weight=torch.ones(b, 1, frames, 2, 2),
        prompts=prompts,
        cut=frames if cut is None else cut,
    )


def test_levels_lean_towards_noise_as_the_flow_schedule_does():
    known = torch.zeros(20_000, 2, dtype=torch.bool)
    levels = draw_levels(known, torch.Generator().manual_seed(0))[:, 0]
    assert 0 <= levels.min() < levels.max() <= 1
    for share in (0.1, 0.5, 0.9):  # u even in [0, 1): the quantiles are the shifted line's
        expected = SHIFT * share / (1 + (SHIFT - 1) * share)
        assert levels.quantile(share).item() == pytest.approx(expected, abs=0.015)
    assert levels.median() > 0.65


def test_a_window_has_one_level_and_what_is_given_has_none():
    known = torch.tensor([[True, False, False], [False, False, False], [False, True, False]])
    levels = draw_levels(known, torch.Generator().manual_seed(0))
    assert levels[known].eq(0).all()
    for row, given in zip(levels, known, strict=True):
        assert len(row[~given].unique()) == 1
    assert len(levels.amax(1).unique()) == 3


class Network(nn.Module):
    """Answers with one velocity; remembers what it was asked."""

    def __init__(self, answer=0.0):
        super().__init__()
        self.answer = answer
        self.patch_embedding = SimpleNamespace(weight=torch.zeros(1))

    def read_text(self, text):
        return text

    def forward(self, noisy, level, text):
        self.asked = noisy, level
        return torch.full_like(noisy, self.answer)


class Mute(nn.Module):
    def forward(self, prompts):
        return torch.zeros(len(prompts), 1, 1)


def loss_by_hand(one, seed, answer=0.0):
    network = Network(answer)
    model = nn.ModuleDict({"dit": network, "text": Mute()})
    loss = velocity_loss(model, one, torch.Generator().manual_seed(seed))
    again = torch.Generator().manual_seed(seed)
    sigma = draw_levels(one.known, again)[:, None, :, None, None]
    noise = torch.randn(one.latents.shape, generator=again)
    return loss, network.asked, sigma, noise


def test_the_loss_is_the_velocitys_error():
    one = batch([["a"], ["b"]])
    loss, (noisy, level), sigma, noise = loss_by_hand(one, seed=3, answer=0.25)
    velocity = noise - one.latents
    torch.testing.assert_close(noisy, (1 - sigma) * one.latents + sigma * noise)
    torch.testing.assert_close(noisy - sigma * velocity, one.latents)  # back at what was clean
    torch.testing.assert_close(level, 1000 * sigma[:, 0, :, 0, 0])
    torch.testing.assert_close(loss, (0.25 - velocity).square().mean())


def test_what_is_given_is_clean_and_costs_nothing():
    one = batch([["a"], ["b"]])
    one.known[:, 0] = True
    loss, (noisy, level), _, noise = loss_by_hand(one, seed=3)
    assert torch.equal(noisy[:, :, 0], one.latents[:, :, 0])
    assert level[:, 0].eq(0).all()
    torch.testing.assert_close(loss, (noise - one.latents)[:, :, 1:].square().mean())


def test_objects_weigh_more_once_their_place_is_settled():
    one = batch([["a"]] * 40, frames=2)
    one.weight[..., 0, 0] = 4.0
    loss, _, sigma, noise = loss_by_hand(one, seed=3)
    settled = sigma < SETTLED
    assert 5 < settled[:, 0, 0].sum() < 35
    weight = torch.where(settled, one.weight, 1.0).expand_as(noise)
    expected = ((noise - one.latents).square() * weight).sum() / weight.sum()
    torch.testing.assert_close(loss, expected)


def test_each_shot_is_read_from_its_cut_on(model):
    one = batch([["a red ball"], ["a red ball", "a blue cube"]], cut=2)
    first, second = read_prompts(model, one)
    assert (first.start, first.stop, second.start, second.stop) == (0, 2, 2, 3)
    alone = batch([["a red ball"], ["a red ball"]])
    (whole,) = read_prompts(model, alone)
    assert (whole.start, whole.stop) == (0, 3)

    def same(a, b, i):
        (key, value), (other_key, other_value) = a.text.words[0], b.text.words[0]
        return torch.equal(key[i], other_key[i]) and torch.equal(value[i], other_value[i])

    assert same(first, second, 0)
    assert not same(first, second, 1)


def test_a_step_is_of_one_form_in_all_shards():
    shards = [WindowShard(RECIPE, i, encode, compiled=False) for i in range(2)]
    for step in range(5):
        first, second = (shard.batch(step) for shard in shards)
        assert first.latents.shape == second.latents.shape
        assert not torch.equal(first.latents, second.latents)


def test_a_batch_is_a_function_of_the_step():
    walked, jumped = (WindowShard(RECIPE, 0, encode, compiled=False) for _ in range(2))
    batches = [walked.batch(step) for step in range(6)]
    again = jumped.batch(5)
    assert torch.equal(batches[5].latents, again.latents)
    assert torch.equal(batches[5].known, again.known)
    assert batches[5].prompts == again.prompts


def test_each_step_brings_new_windows():
    shard = WindowShard(replace(RECIPE, fresh=2), 0, encode, compiled=False)
    made = {}
    for step in range(5):
        before = [pool.made for pool in shard.pools]
        shard.batch(step)
        (used,) = (i for i, pool in enumerate(shard.pools) if pool.made != before[i])
        if used in made:
            assert shard.pools[used].made == made[used] + 2
        made[used] = shard.pools[used].made
    assert len(made) == 2


def test_shards_and_steps_draw_and_add_noise_of_their_own(model, monkeypatch):
    drawn, noise = [], []

    def draw(pool, rng, count, mix):
        drawn.append(rng.random())

    def seen(model, batch, generator):
        noise.append(generator.initial_seed())
        return torch.zeros(())

    monkeypatch.setattr(windows.WindowPool, "batch", draw)
    monkeypatch.setattr(windows.WindowPool, "advance", lambda pool, count: None)
    monkeypatch.setattr(train_dit, "velocity_loss", seen)
    for loss_of in dit_training(RECIPE, model, encode, compiled=False).losses:
        for step in range(3):
            loss_of(step)
    assert len(set(drawn)) == len(set(noise)) == 6


def test_a_run_resumes_to_the_last_bit(model, tmp_path):
    begin = {k: v.clone() for k, v in model.state_dict().items()}

    def training():
        model.float().load_state_dict(begin)
        return dit_training(RECIPE, model, encode, compiled=False)

    straight = training()
    for _ in range(3):
        straight.step()
    expected = {k: v.clone() for k, v in straight.optimizer.state().items()}
    broken = training()
    for _ in range(2):
        broken.step()
    broken.save(tmp_path / "dit.safetensors")
    resumed = training()
    resumed.resume(tmp_path / "dit.safetensors")
    resumed.step()
    for name, value in expected.items():
        assert torch.equal(value, resumed.optimizer.state()[name]), name
    assert not torch.equal(expected["ema"], expected["master"])


def test_the_loss_goes_down(model):
    training = dit_training(replace(RECIPE, steps=100), model, encode, compiled=False)
    loss_of = training.losses[0]
    training.losses = [lambda _: loss_of(0)]  # the same windows and noise each time
    first = loss_of(0)[1]
    for _ in range(12):
        training.step()
    assert loss_of(0)[1] < 0.95 * first


def test_going_further_shows_what_is_known_least_from_the_start(model):
    assert RECIPE.world(0.0) == windows.world_at(0.0)
    further = replace(RECIPE, further=True, rate=0.5)
    assert further.world(0.0) == further.world(1.0) == windows.FURTHER
    rates = dit_training(further, model, encode, compiled=False).optimizer.rates
    assert rates == pytest.approx((0.006, 0.75e-3))

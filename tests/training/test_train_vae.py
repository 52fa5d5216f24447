"""The VAE's trainer: its loss, its batches, and that a run goes on exactly where it was."""

import copy
import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from longtake.models.errors import ConfigError
from longtake.models.wan.config import VAE_PRESETS
from longtake.models.wan.vae import WanVAE
from training import train_vae
from training.learning import clips
from training.train_vae import (
    DRIFT_WEIGHT,
    LOG_VARIANCE,
    OBJECT_WEIGHT,
    CropShard,
    VAERecipe,
    averaged_vae,
    build_vae,
    check_sizes,
    decoder_loss,
    edge_error,
    pixel_error,
    vae_loss,
    vae_training,
)

TINY = replace(VAE_PRESETS["nano"], width=8, decoder_width=8, latent_channels=5)
RECIPE = VAERecipe(TINY, steps=10, clips=3)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(train_vae, "CROPS", 2)
    monkeypatch.setattr(train_vae, "SIDE", 16)
    monkeypatch.setattr(clips, "SIDE", 32)


def run(steps, training=None):
    training = training or vae_training(RECIPE, compiled=False)
    for _ in range(steps):
        training.step()
    return training


def test_a_run_resumes_to_the_last_bit(tmp_path):
    path = tmp_path / "vae.safetensors"
    straight = run(3)
    run(2).save(path)
    resumed = vae_training(RECIPE, compiled=False)
    resumed.resume(path)
    run(1, resumed)
    for name, value in straight.optimizer.state().items():
        assert torch.equal(value, resumed.optimizer.state()[name]), name


def test_training_makes_the_error_smaller():
    training = vae_training(RECIPE, compiled=False)
    shard = training.losses[0]
    training.losses = [lambda _: shard(0)]  # the same crops each time
    first = run(1, training).average
    run(7, training)
    assert shard(0)[1] < 0.97 * first


def test_a_batch_is_a_function_of_seed_shard_and_step():
    def batch(recipe, index, *steps):
        shard = CropShard(recipe, index, compiled=False)
        return [shard.batch(step) for step in steps][-1]

    straight, skipped = batch(RECIPE, 0, 0, 1, 4), batch(RECIPE, 0, 4)
    for a, b in zip(straight, skipped, strict=True):
        assert torch.equal(a, b)
    for other in (batch(RECIPE, 1, 4), batch(RECIPE, 0, 5), batch(replace(RECIPE, seed=1), 0, 4)):
        assert not torch.equal(straight[0], other[0])
        assert not torch.equal(straight[2], other[2])


def test_the_last_fifth_sees_longer_crops():
    shard = CropShard(RECIPE, 0, compiled=False)
    pixels, weight, noise = shard.batch(7)
    assert pixels.shape == (2, 3, 9, 16, 16)
    assert weight.shape == (2, 1, 9, 16, 16)
    assert noise.shape == (2, 5, 3, 1, 1)
    pixels, weight, noise = shard.batch(8)
    assert pixels.shape == (1, 3, 17, 16, 16)
    assert weight.shape == (1, 1, 17, 16, 16)
    assert noise.shape == (1, 5, 5, 1, 1)
    assert 1 <= weight.min() < weight.max() <= 1 + OBJECT_WEIGHT


def test_the_loss_by_hand():
    pixels = torch.zeros(1, 3, 1, 2, 2)
    back = torch.zeros(1, 3, 1, 2, 2)
    back[0, :, 0, 0, 0] = 2.0  # on the object; its two neighbours are right
    weight = torch.ones(1, 1, 1, 2, 2)
    weight[..., 0, 0] = 4.0
    error, plain = pixel_error(back, pixels, weight)
    edges = 0.5 * (2.0 + 2.0)  # 4 of one pair in two, along rows and along columns
    assert plain.item() == pytest.approx(1.0)
    assert error.item() == pytest.approx(4.0 * 4 / 4 + 0.05 * 4.0 * 2 / 4 + edges)
    assert edge_error(torch.full((1, 3, 1, 4, 4), 0.7)).item() == 0.0


class Exact:
    """A VAE whose latents are its pixels, of given log-variance."""

    def __init__(self, log_variance):
        self.log_variance = log_variance

    def encode_distribution(self, pixels):
        return pixels, torch.full_like(pixels, self.log_variance)

    def decode(self, latents):
        return latents


def test_the_kl_divergence_is_that_of_gaussians(monkeypatch):
    monkeypatch.setattr(train_vae, "KL_WEIGHT", 1.0)
    pixels = torch.rand(2, 3, 1, 4, 4) - 0.5
    latent = torch.distributions.Normal(pixels, torch.tensor(-1.4 / 2).exp())
    unit = torch.distributions.Normal(0.0, 1.0)
    expected = torch.distributions.kl_divergence(latent, unit).mean()
    loss, error = vae_loss(Exact(-1.4), pixels, torch.ones(2, 1, 1, 4, 4), torch.zeros(1))
    assert error == 0
    torch.testing.assert_close(loss, expected)


def test_noise_has_the_standard_deviation_that_the_encoder_says():
    pixels, noise = torch.zeros(2, 3, 1, 4, 4), torch.ones(2, 3, 1, 4, 4)
    _, error = vae_loss(Exact(-1.4), pixels, torch.ones(2, 1, 1, 4, 4), noise)
    assert error.item() == pytest.approx(torch.tensor(-1.4).exp().item())


def test_leaving_the_shipped_latents_costs_what_it_should():
    pixels, weight = torch.rand(2, 3, 1, 4, 4) - 0.5, torch.ones(2, 1, 1, 4, 4)
    plain, _ = vae_loss(Exact(-1.4), pixels, weight, torch.zeros(1))
    shipped = SimpleNamespace(encode_distribution=lambda pixels: (pixels + 0.3, None))
    loss, _ = vae_loss(Exact(-1.4), pixels, weight, torch.zeros(1), shipped)
    assert (loss - plain).item() == pytest.approx(DRIFT_WEIGHT * 0.3**2, rel=1e-3)


def test_going_further_begins_with_the_shipped_vae(monkeypatch):
    torch.manual_seed(0)
    shipped = WanVAE(TINY)
    monkeypatch.setattr(train_vae, "shipped_vae", lambda: copy.deepcopy(shipped))
    training = vae_training(replace(RECIPE, further=True), compiled=False)
    expected = sum(p.bfloat16().float().sum() for p in shipped.parameters())
    assert training.optimizer.master.sum().item() == pytest.approx(expected.item(), rel=1e-4)
    run(1, training)
    assert training.average is not None


def test_the_decoder_learns_alone():
    torch.manual_seed(0)
    vae = WanVAE(TINY)
    pixels, noise = torch.rand(1, 3, 1, 32, 32), torch.randn(1, 5, 1, 2, 2)
    loss, _ = decoder_loss(vae, pixels, torch.ones(1, 1, 1, 32, 32), noise)
    loss.backward()
    learns = {name.split(".")[0] for name, p in vae.named_parameters() if p.grad is not None}
    assert learns == {"conv2", "decoder"}


def test_the_decoder_meets_latents_that_are_a_little_off():
    pixels, weight = torch.zeros(2, 3, 1, 4, 4), torch.ones(2, 1, 1, 4, 4)
    _, error = decoder_loss(Exact(0.0), pixels, weight, torch.ones(2, 3, 1, 4, 4))
    assert error.item() == pytest.approx(0.05**2)


def test_the_kl_divergence_weighs_little():
    pixels, weight = torch.zeros(2, 3, 1, 4, 4), torch.ones(2, 1, 1, 4, 4)
    loss, _ = vae_loss(Exact(-1.4), pixels, weight, torch.zeros(1))
    kl = (torch.tensor(-1.4).exp() - 1 + 1.4) / 2
    assert loss.item() == pytest.approx(2e-5 * kl.item())


def test_every_other_step_replaces_a_clip():
    shard = CropShard(RECIPE, 0, compiled=False)
    made = []
    for step in range(5):
        shard.batch(step)
        made.append(shard.pool.made)
    assert made == [3, 3, 4, 4, 5]


@pytest.mark.parametrize(("world", "shards"), [(1, [[0, 1]]), (2, [[0], [1]])])
def test_processes_share_the_shards(monkeypatch, world, shards):
    made = []
    monkeypatch.setattr(train_vae, "CropShard", lambda recipe, index, compiled: made.append(index))
    monkeypatch.setattr(train_vae, "FlatOptimizer", lambda *_: None)
    found = []
    for rank in range(world):
        monkeypatch.setattr(train_vae, "place", lambda rank=rank: (rank, world))
        made.clear()
        vae_training(RECIPE, compiled=False)
        found.append(list(made))
    assert found == shards


def test_the_rate_is_of_both_optimizers():
    rates = vae_training(replace(RECIPE, rate=0.25), compiled=False).optimizer.rates
    assert rates == pytest.approx((0.0025, 0.0005))


def test_latents_are_nearly_free_of_noise_at_first():
    torch.manual_seed(0)
    vae = build_vae(TINY)
    log_variance = vae.encode_distribution(torch.rand(1, 3, 5, 32, 32))[1]
    assert (log_variance - LOG_VARIANCE).abs().max() < 2


def test_sizes_that_no_shortcut_joins_are_refused_in_one_line():
    check_sizes(TINY)
    check_sizes(replace(TINY, multipliers=(1, 4, 4)))
    with pytest.raises(ConfigError, match="each must divide 8 times") as caught:
        check_sizes(replace(TINY, multipliers=(1, 2, 4)))
    assert "\n" not in str(caught.value)


def test_a_recipe_survives_json():
    assert VAERecipe.from_json(json.loads(json.dumps(RECIPE.to_json()))) == RECIPE


def test_what_would_be_shipped_is_the_average():
    training = run(1)
    vae = averaged_vae(RECIPE, training.optimizer.ema)
    mine = torch.cat([p.flatten() for p in vae.conv2.parameters()])
    weights = set(training.optimizer.ema.tolist())
    assert set(mine.tolist()) <= weights
    assert not set(mine.tolist()) <= set(training.optimizer.master.tolist())

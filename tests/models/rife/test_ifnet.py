"""RIFE draws what the published networks draw, whatever else is in the batch."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn

import longtake
from longtake.models.checkpoint import load_into, load_weights
from longtake.models.errors import CheckpointError, ConfigError, InputError
from longtake.models.rife.config import RifeConfig, detect_rife
from longtake.models.rife.ifnet import FAST, IFNet, is_fast, warp
from longtake.models.weights_file import Header, TensorInfo, read_header
from tests.golden.make_rife import EVERY, PUBLISHED, VERSIONS, seeded
from tests.models.tiny import relative_error

LIMIT = 1e-4  # relative L2 in float32; rounding alone gave 6e-8 to 6e-6 over all versions
GOLDEN = Path(__file__).parents[2] / "golden" / "rife.safetensors"
SHIPPED = Path(longtake.__file__).parent / "models" / "rife" / "rife_4.0.safetensors"
HERE = Path("rife.safetensors")


@pytest.fixture(scope="module")
def golden() -> dict:
    with safe_open(GOLDEN, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return {**tensors, "shapes": json.loads(file.metadata()["shapes"])}


@pytest.fixture(autouse=True)
def no_grad():
    with torch.inference_mode():
        yield


def frames(golden: dict, name: str) -> Tensor:
    """(1, 2, 3, h, w) in [0, 1]."""
    return golden[name][None].float() / 255


def header_of(shapes: list) -> Header:
    return Header(HERE, {name: TensorInfo(tuple(shape), "F32", HERE) for name, shape in shapes})


def network_of(version: str, golden: dict, prefix: str = "") -> IFNet:
    """One of our networks with the weights that the golden frames were made with."""
    shapes = golden["shapes"][version]
    config, names = detect_rife(header_of([(prefix + name, shape) for name, shape in shapes]))
    network = IFNet(config)
    weights = seeded(shapes, version)
    load_into(network, {names[prefix + name]: weight for name, weight in weights.items()})
    return network.eval()


@pytest.fixture(scope="module")
def shipped() -> IFNet:
    header = read_header(SHIPPED)
    config, names = detect_rife(header)
    network = IFNet(config, device="meta")
    load_into(network, load_weights(header, names, dtype=torch.float32))
    return network.eval()


@pytest.mark.parametrize(("time", "scale", "name"), PUBLISHED)
def test_the_shipped_weights_draw_what_the_original_draws(shipped, golden, time, scale, name):
    drawn = shipped(frames(golden, name), torch.tensor([time]), scale)
    expected = golden[f"published {time} {scale} {name}"]
    assert relative_error(drawn[0, :, ::EVERY, ::EVERY], expected) < LIMIT


def test_one_of_these_pairs_is_begun_again_from_farther_away(shipped, golden):
    starts = []
    hook = shipped.block0.register_forward_hook(lambda *_: starts.append(1))
    for name in ("calm", "fast"):
        starts.clear()
        shipped(frames(golden, name), torch.tensor([0.5]))
        assert len(starts) == (2 if name == "fast" else 1)
    hook.remove()


@pytest.mark.parametrize("version", VERSIONS)
def test_every_kind_is_told_from_its_tensors_and_draws_what_it_should(golden, version):
    network = network_of(version, golden)
    drawn = network(frames(golden, "calm"), torch.tensor([0.3]))
    assert relative_error(drawn[0, :, ::EVERY, ::EVERY], golden[version]) < LIMIT


@pytest.mark.parametrize("prefix", ["module.", "flownet.", "module.flownet."])
def test_wrapped_names_are_understood(golden, prefix):
    assert network_of("4_6", golden, prefix).config == network_of("4_6", golden).config


def test_comfyuis_spelling_is_understood(golden):
    shapes = [(name.replace("block", "blocks.", 1) if name.startswith("block") else name, shape)
              for name, shape in golden["shapes"]["4_26"]]  # fmt: skip
    config, names = detect_rife(header_of(shapes))
    assert config == network_of("4_26", golden).config
    assert set(names.values()) == set(IFNet(config, device="meta").state_dict())


def test_what_only_training_uses_is_passed_over(golden):
    extra = [("block_tea.conv0.0.0.weight", [32, 21, 3, 3]), ("unet.conv.bias", [3])]
    _, names = detect_rife(header_of(golden["shapes"]["4_0"] + extra))
    assert not set(names) & {name for name, _ in extra}


@pytest.mark.parametrize(
    "shapes",
    [
        [("patch_embedding.weight", [3, 5])],
        [("block0.conv0.1.0.weight", [7, 3, 3, 3])],
        [("extract.extract_sublevels.convs.0.0.conv.weight", [64, 3, 3, 3])],
    ],
)
def test_other_networks_are_named(shapes):
    with pytest.raises(CheckpointError, match=r"not a RIFE network of version 4: .* FILM") as error:
        detect_rife(header_of(shapes))
    assert "\n" not in str(error.value)


def test_a_pair_is_drawn_alike_alone_and_in_company(shipped, golden):
    """The original doubles its scales for a whole batch as soon as one pair in it is fast."""
    pairs = torch.cat([frames(golden, name) for name in ("calm", "fast", "calm")])
    times = torch.tensor([0.5, 0.25, 0.75])
    together = shipped(pairs, times)
    for pair, time, drawn in zip(pairs.split(1), times.split(1), together, strict=True):
        torch.testing.assert_close(shipped(pair, time)[0], drawn, rtol=0, atol=2e-5)


def test_bfloat16_convolutions_stay_within_a_level(shipped, golden):
    half = IFNet(shipped.config, dtype=torch.bfloat16)
    load_into(half, {name: weight.bfloat16() for name, weight in shipped.state_dict().items()})
    pairs, times = frames(golden, "calm"), torch.tensor([0.5])
    error = (half(pairs, times) - shipped(pairs, times)).square().mean()
    assert half(pairs, times).dtype == torch.float32
    assert -10 * error.log10() > 55


def test_warping_looks_up_what_the_flow_points_at():
    """Whole pixels can be looked up by hand; beyond the border, its nearest pixel counts."""
    rng = torch.Generator().manual_seed(0)
    sources = torch.rand(2, 2, 3, 5, 7, generator=rng)
    flow = torch.randint(-4, 5, (2, 4, 5, 7), generator=rng).float()
    expected = torch.empty_like(sources)
    for b, s, y, x in torch.cartesian_prod(*map(torch.arange, (2, 2, 5, 7))).tolist():
        dx, dy = flow[b, 2 * s : 2 * s + 2, y, x].int().tolist()
        there = sources[b, s, :, min(max(y + dy, 0), 4), min(max(x + dx, 0), 6)]
        expected[b, s, :, y, x] = there
    torch.testing.assert_close(warp(sources, flow), expected, rtol=0, atol=1e-5)


def test_fast_means_fast_towards_both_frames():
    flow = torch.zeros(3, 4, 2, 5)
    flow[0, 1, 1, 2], flow[0, 2, 0, 0] = -FAST - 1, FAST + 1
    flow[1, 0, 1, 2] = FAST + 1
    flow[2] = FAST
    assert is_fast(flow).tolist() == [True, False, False]


@pytest.mark.parametrize(("size", "scale"), [((64, 63), 1.0), ((64, 64), 0.5)])
def test_sizes_that_do_not_fit_are_named(shipped, size, scale):
    with pytest.raises(InputError, match=f"multiples of {shipped.config.multiple(scale)}"):
        shipped(torch.zeros(1, 2, 3, *size), torch.tensor([0.5]), scale)


def test_configs_that_make_no_network_are_refused():
    with pytest.raises(ConfigError, match="4 or 5 blocks"):
        RifeConfig(widths=(8, 8, 8))


def test_layers_come_from_where_they_are_asked_for():
    class Counting:
        made = 0

        @staticmethod
        def Conv2d(*args, **where):
            Counting.made += 1
            return nn.Conv2d(*args, **where)

        @staticmethod
        def ConvTranspose2d(*args, **where):
            Counting.made += 1
            return nn.ConvTranspose2d(*args, **where)

    network = IFNet(RifeConfig(features=4), operations=Counting, device="meta")
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    assert Counting.made == len(layers) == 4 * 11 + 4

"""Several shots in one window, through core's samplers: each frame listens to its own text."""

import importlib

import pytest
import torch

from longtake.models.errors import InputError
from longtake.models.wan.dit import WanDiT
from tests.host.networks.test_lora import deltas, with_lora  # noqa: F401
from tests.host.runs import ksampler, latents, prompt, seen, windowed

LONG = (1, 6, 7, 4, 6)
indexing = pytest.mark.filterwarnings("ignore:Using a non-tuple sequence")  # core's own


@pytest.fixture
def shots(pack):
    return importlib.import_module("longtake.host.comfyui.conditioning")


def storyboard(shots, model, starts, meet=1.0, first=21):
    """CONDITIONING of random texts, one for each start."""
    texts = [prompt(model, first + i, tokens=5 + i) for i in range(len(starts))]
    return shots.of_shots(prompt(model, 9), texts, starts, meet)


def run(model, positive, shape=LONG, **settings):
    given = {"latent_image": {"samples": torch.zeros(shape)}, "steps": 2, **settings}
    return ksampler(model, positive=positive, **given)


@pytest.fixture
def heard(monkeypatch):
    """What the network is given: (latent frames, segments as (start, stop) or None) a call."""
    calls, real = [], WanDiT.forward

    def record(self, x, timestep, text, **kwargs):
        parts = [(s.start, s.stop) for s in text] if isinstance(text, list) else None
        calls.append((x.shape[2], parts))
        return real(self, x, timestep, text, **kwargs)

    monkeypatch.setattr(WanDiT, "forward", record)
    return calls


def test_the_network_is_told_which_frames_listen_to_what(model, shots, heard):
    run(model, storyboard(shots, model, [0, 2, 5]), steps=1, cfg=1.0)
    assert heard == [(7, [(0, 2), (2, 5), (5, 7)])]


def test_it_is_the_transformer_itself_with_segments(model, shots):
    """Against our own network called directly, as its tests hold it to its definition."""
    from longtake.models.wan.dit import Segment

    positive = storyboard(shots, model, [0, 3])
    network, x = model.model.diffusion_model, latents(3, LONG)
    texts = [network.read_text(text) for text in positive[0][1][shots.SHOTS]["texts"]]
    segments = [Segment(0, 3, texts[0]), Segment(3, 7, texts[1])]
    expected = WanDiT.forward(network, x, torch.tensor([700.0]), segments)
    conds = shots.shot_conds({**positive[0][1], "noise": x, "device": "cpu"})
    given = {name: cond.process_cond(1, area=None).cond for name, cond in conds.items()}
    out = network(x, torch.tensor([700.0]), positive[0][0], **given)
    torch.testing.assert_close(out, expected, rtol=0, atol=0)


def test_the_same_text_for_all_is_one_text(model, shots):
    text = prompt(model, 1)
    same = shots.of_shots(text, [text, text], [0, 3], meet=1.0)
    torch.testing.assert_close(run(model, same), run(model, text), rtol=1e-4, atol=1e-5)


def test_each_text_matters_to_its_own_frames_most(model, shots):
    one = storyboard(shots, model, [0, 3])
    other = [[text, {**extras, shots.SHOTS: dict(extras[shots.SHOTS])}] for text, extras in one]
    other[0][1][shots.SHOTS]["texts"] = [
        one[0][1][shots.SHOTS]["texts"][0],
        prompt(model, 77)[0][0],
    ]
    change = (run(model, one) - run(model, other)).abs().mean((0, 1, 3, 4))
    assert change[3:].min() > change[:3].max() > 0


def test_shots_meet_below_a_noise_level(model, shots, heard):
    run(model, storyboard(shots, model, [0, 3], meet=0.5), steps=4, cfg=1.0)
    apart = [(3, None), (4, None)]
    assert heard[:2] == apart
    assert heard[-1] == (7, [(0, 3), (3, 7)])
    met = [i for i, call in enumerate(heard) if call[0] == 7]
    assert heard == apart * (met[0] // 2) + [(7, [(0, 3), (3, 7)])] * len(met)


def test_apart_to_the_end_they_are_as_if_made_alone(model, shots):
    noise = latents(5, LONG)
    both = storyboard(shots, model, [0, 3], meet=0.0)
    whole = velocity(model, noise, both)
    for part, text in zip(
        (slice(0, 3), slice(3, 7)), both[0][1][shots.SHOTS]["texts"], strict=True
    ):
        alone = velocity(model, noise[:, :, part], [[text, {}]])
        torch.testing.assert_close(whole[:, :, part], alone, rtol=1e-5, atol=1e-5)


def velocity(model, x, positive):
    """One call of the network, through core's own preparation of prompts."""
    import comfy.samplers
    from comfy.sampler_helpers import convert_cond

    conds = {"positive": convert_cond(positive)}
    conds = comfy.samplers.process_conds(model.model, x, conds, x.device)
    model.model.current_patcher = model
    return comfy.samplers.calc_cond_batch(
        model.model, [conds["positive"]], x, torch.tensor([0.7]), {"transformer_options": {}}
    )[0]


def test_known_frames_and_references_keep_their_places(model, shots, heard):
    mask = torch.ones(1, 1, 7, 1, 1)
    mask[:, :, :2] = 0
    source = latents(8, LONG)
    board = storyboard(shots, model, [0, 3], meet=0.5)
    out = run(model, board, latent_image={"samples": source, "noise_mask": mask}, steps=3)
    torch.testing.assert_close(out[:, :, :2], source[:, :, :2], rtol=0, atol=1e-5)
    assert (out[:, :, 2:] - source[:, :, 2:]).abs().mean() > 0.1
    heard.clear()
    board = storyboard(shots, model, [0, 3])
    board[0][1]["time_dim_concat"] = latents(4, (1, 6, 2, 4, 6))
    monolith = [[board[0][0], board[0][1]]]
    run(model.clone(), monolith, steps=1, cfg=1.0)
    assert heard == [(9, [(0, 3), (3, 9)])]


@indexing
def test_context_windows_hear_the_shots_that_are_in_them(model, shots, heard):
    run(windowed(model), storyboard(shots, model, [0, 4]), steps=1, cfg=1.0)
    assert heard == [(3, [(0, 3)]), (3, [(0, 2), (2, 3)]), (3, [(0, 3)])]


@pytest.mark.parametrize("node", ["zero out", "average", "concat"])
def test_a_text_that_a_node_changed_is_what_counts(node, model, shots, host):
    core, other = host.nodes, prompt(model, 31)
    board = storyboard(shots, model, [0, 3])
    change = {
        "zero out": lambda entry: core.ConditioningZeroOut().zero_out(entry),
        "average": lambda entry: core.ConditioningAverage().addWeighted(entry, other, 0.5),
        "concat": lambda entry: core.ConditioningConcat().concat(entry, other),
    }[node]
    (changed,) = change(board)
    assert torch.equal(run(model, changed), run(model, shots.as_one(changed)))
    (kept,) = core.ConditioningSetTimestepRange().set_range(board, 0.0, 1.0)
    assert torch.equal(run(model, kept), run(model, board))


def test_two_storyboards_at_once_keep_their_own_cuts(model, shots):
    """ConditioningCombine: prompts that differ in frames are not put into one batch."""
    one, two = storyboard(shots, model, [0, 2]), storyboard(shots, model, [0, 5], first=41)
    with seen(model, lambda x, *_, **__: x.shape[0]) as rows:
        both = run(model, one + two, cfg=1.0, steps=1)
    assert rows == [1, 1]
    with seen(model, lambda x, *_, **__: x.shape[0]) as rows:
        run(model, one + storyboard(shots, model, [0, 2], first=41), cfg=1.0, steps=1)
    assert rows == [2]
    assert torch.isfinite(both).all()


def test_a_batch_of_videos(model, shots):
    batch = {"samples": torch.zeros(2, *LONG[1:])}
    out = run(model, storyboard(shots, model, [0, 2]), latent_image=batch)
    assert (out[0] - out[1]).abs().mean() > 0.1


def test_each_text_is_read_once_a_run(model, shots, pack, monkeypatch):
    reads, real = [], pack.forward.ComfyDiT.read_text

    def counted(self, context, image=None):
        reads.append(context.shape)
        return real(self, context, image)

    monkeypatch.setattr(pack.forward.ComfyDiT, "read_text", counted)
    run(model, storyboard(shots, model, [0, 2], meet=0.5), steps=4)
    assert len(reads) == 3  # two shots and the negative prompt


def test_a_lora_is_heard_by_every_shot(model, deltas, shots):  # noqa: F811
    delta = {"diffusion_model.blocks.0.cross_attn.v.diff": torch.ones(32, 32)}
    board = storyboard(shots, model, [0, 3], meet=0.0)
    plain = run(model, board)
    change = (run(with_lora(model, delta), board) - plain).abs().mean((0, 1, 3, 4))
    assert change.min() > 1e-3
    assert torch.equal(run(model, board), plain)


def test_from_a_later_frame_on(model, shots):
    board = storyboard(shots, model, [0, 3, 5])
    later = shots.from_frame(board, 4, 6)[0][1][shots.SHOTS]
    assert later["starts"] == [0, 1]
    assert all(
        a is b for a, b in zip(later["texts"], board[0][1][shots.SHOTS]["texts"][1:], strict=True)
    )
    assert shots.from_frame(board, 3, 6)[0][1][shots.SHOTS]["starts"] == [0, 2]
    plain = prompt(model, 1)
    assert shots.from_frame(plain, 4, 6)[0][0] is plain[0][0]


def test_shots_that_share_a_clip_do_so_whatever_its_length(model, shots):
    texts = [prompt(model, i, tokens=5)[0][0] for i in (1, 2)]
    joint = prompt(model, 9)[0][0]
    cut = [[joint, shots.of_cuts(joint, texts)]]
    told = shots.of_shots(prompt(model, 9), [[[text, {}]] for text in texts], [0, 4], 1.0)
    assert torch.equal(run(model, cut), run(model, told))  # seven latent frames
    later = shots.from_frame(cut, 3, 9)[0][1][shots.SHOTS]
    assert later["starts"] == [0, 2]
    assert later["meet"] == 1
    assert shots.SHOTS not in shots.as_one(cut)[0][1]


def test_a_text_of_another_encoder_is_named_before_sampling(model, shots):
    board = storyboard(shots, model, [0, 3])
    board[0][1][shots.SHOTS]["texts"][1] = torch.zeros(1, 5, 4096)
    with pytest.raises(InputError, match="4096 channels wide"):
        run(model, board)

"""The one loop, with a sampler that mixes all it sees: the numbers show what depends on what."""

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from longtake.engine.canvas.masked import MaskedLatents
from longtake.engine.canvas.plan import Window, backwards, between, consecutive, forwards
from longtake.engine.sampling.loop import sampled

B, C, H, W = 1, 3, 5, 7


def noise(k: int) -> Tensor:
    return torch.randn(B, C, 1, H, W, generator=torch.Generator().manual_seed(k))


def stream(total: int, known: Sequence[int]) -> MaskedLatents:
    latents = torch.cat([noise(1000 + k) for k in range(total)], dim=2)
    return MaskedLatents(torch.zeros_like(latents)).with_known(
        {k: latents[:, :, k : k + 1] for k in known}
    )


def mixed(window: Window, part: MaskedLatents) -> Tensor:
    """Each unknown frame becomes its own noise and the sum of all that the window knows."""
    known = [n for n in range(len(window.frames)) if n in part.known]
    seen = part.latents[:, :, known].sum(dim=2, keepdim=True)
    out = [
        part.latents[:, :, n : n + 1] if n in known else noise(k) + seen
        for n, k in enumerate(window.frames)
    ]
    return torch.cat(out, dim=2)[:, :, window.context :]


def by_definition(whole: MaskedLatents, plan) -> Tensor:
    """The same on one tensor that holds everything, written out."""
    latents, known = whole.latents.clone(), set(whole.known)
    for window in plan:
        frames = list(window.frames)
        mask = torch.tensor([float(k not in known) for k in frames]).view(1, 1, -1, 1, 1)
        new = mixed(window, MaskedLatents(latents[:, :, frames], mask))
        latents[:, :, list(window.new)] = new
        known |= set(window.new)
    return latents


TAKES = {
    "in windows": (stream(11, [0, 7]), consecutive(11, 4, 2)),
    "nothing known": (stream(9, []), consecutive(9, 5, 1)),
    "forwards": (stream(13, range(4)), forwards(4, 13, 5, 2)),
    "backwards": (stream(13, range(9, 13)), backwards(9, 13, 5, 2)),
    "between": (stream(14, [*range(3), 12, 13]), between(range(3), range(3, 12), (12, 13), 5, 2)),
}


@pytest.mark.parametrize("name", TAKES)
def test_windows_hand_over_what_they_gave(name):
    whole, plan = TAKES[name]
    out = whole.latents.clone()
    for window, new in sampled(whole, plan, mixed):
        out[:, :, list(window.new)] = new
    assert torch.equal(out, by_definition(whole, plan))
    assert torch.equal(out[:, :, whole.known], whole.latents[:, :, whole.known])


class Watched:
    """Known latents that are made when they are asked for, and how much was asked for at once."""

    def __init__(self, known: Sequence[int]):
        self.known, self.most = set(known), 0

    def at(self, frames: Sequence[int]) -> MaskedLatents:
        self.most = max(self.most, len(frames))
        own = {n: noise(1000 + k) for n, k in enumerate(frames) if k in self.known}
        return MaskedLatents(torch.zeros(B, C, len(frames), H, W)).with_known(own)


@given(total=st.integers(1, 60), window=st.integers(2, 9), data=st.data())
def test_what_is_known_may_be_made_as_it_is_asked(total, window, data):
    plan = consecutive(total, window, data.draw(st.integers(1, window - 1)))
    known = data.draw(st.sets(st.integers(0, total - 1)))
    source = Watched(known)
    pieces = [new for _, new in sampled(source, plan, mixed)]
    assert torch.equal(torch.cat(pieces, dim=2), by_definition(stream(total, sorted(known)), plan))
    assert source.most <= window


def test_no_more_is_kept_than_later_windows_look_at():
    """The last window slides back and looks further than the overlap."""
    plan = consecutive(8, 5, 1)
    assert plan[1].context == 2
    alive, kept = [], []
    for _, new in sampled(stream(8, []), plan, mixed):
        alive.append(new.untyped_storage().nbytes())
        kept.append(new)
    whole = by_definition(stream(8, []), plan)
    assert torch.equal(torch.cat(kept, dim=2), whole)


def test_what_a_consumer_does_to_a_piece_changes_nothing_after_it():
    plan, pieces = consecutive(9, 4, 2), []
    for _, new in sampled(stream(9, []), plan, mixed):
        pieces.append(new.clone())
        new.zero_()
    assert torch.equal(torch.cat(pieces, dim=2), by_definition(stream(9, []), plan))


def test_a_batch_and_a_mask_in_space_pass_through():
    mask = torch.ones(1, 1, 3, H, W)
    mask[..., :2] = 0
    whole = MaskedLatents(torch.rand(2, C, 3, H, W), mask)
    seen = []

    def look(window: Window, part: MaskedLatents) -> Tensor:
        seen.append(part)
        return part.latents[:, :, window.context :]

    list(sampled(whole, consecutive(3, 2, 1), look))
    assert torch.equal(seen[0].mask, mask[:, :, :2])
    assert seen[1].known == [0]  # what the first window gave is known wholly
    assert torch.equal(seen[1].mask[:, :, 1], mask[:, :, 2])

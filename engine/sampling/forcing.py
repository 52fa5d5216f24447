"""Diffusion forcing: every latent frame at its own noise level, earlier ones ahead of later ones.

Models trained with a level per frame can sample a long video as a wave: a block of frames is begun
when the one before it is some steps ahead, and frames that are finished stay in view and guide the
rest. Without that lag (`lag` 0) all frames go together, as everywhere else.

Source: `generate_timestep_matrix` and `addnoise_condition` in diffusion_forcing_pipeline.py,
SkyworkAI/SkyReels-V2; the paper is Chen et al. 2025, arXiv:2504.13074.
"""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ...models.errors import InputError
from ..canvas.noise import video_noise

REFERENCE_NOISE = 20  # timestep that known frames are said to be at; 0 is clean, of 1000
MOST_NOISE = 60  # above it known frames are no longer followed


@dataclass(frozen=True)
class Wave:
    """Which frames take which step, call by call.

    Attributes:
        before: (calls, frames) how many steps each frame has done when the call is made.
        moves: (calls, frames) bool, whether the call takes it a step further.
    """

    before: np.ndarray
    moves: np.ndarray


def wave(frames: int, steps: int, *, lag: int = 0, known: int = 0, block: int = 1) -> Wave:
    """The order in which the steps of all frames are taken; the model sees all of them at once.

    Args:
        frames: latent frames of the video.
        steps: noise levels that each of them goes through.
        lag: steps that each block is behind the one before; 0 takes all together.
        known: frames at the beginning that are finished before the first call.
        block: frames that go together.

    Raises:
        InputError: if the frames do not divide into blocks, or for numbers outside these.
    """
    check(frames, steps, lag, known, block)
    # The step each is at: 1 … steps, steps + 1 when done.
    done = np.zeros(frames // block, dtype=np.int64)
    done[: known // block] = steps + 1
    rows, moves = [], []
    while (done < steps).any():
        row = next_row(done, steps, lag)
        rows.append(row)
        moves.append((row != done) & (row != steps + 1))
        done = row
    return Wave(
        np.stack(rows).repeat(block, axis=1) - 1,
        np.stack(moves).repeat(block, axis=1),
    )


def next_row(done: np.ndarray, steps: int, lag: int) -> np.ndarray:
    """One call later: the first unfinished block goes a step on, each after it lags behind."""
    row = np.zeros_like(done)
    for i in range(len(done)):
        leads = i == 0 or done[i - 1] >= steps
        row[i] = done[i] + 1 if leads else row[i - 1] - lag
    return row.clip(0, steps + 1)


def check(frames: int, steps: int, lag: int, known: int, block: int) -> None:
    if block < 1 or frames % block:
        near = max(1, frames // max(block, 1)) * max(block, 1)
        raise InputError(
            f"{frames} latent frames do not divide into blocks of {block}: choose a block that "
            f"divides them, or a canvas of {near}."
        )
    if not 0 <= known < frames or lag < 0 or steps < 1:
        raise InputError(
            f"known frames {known}, lag {lag}, steps {steps}: known must be from 0 to "
            f"{frames - 1}, the lag 0 or more, the steps 1 or more."
        )


def reference_noise(latents: Tensor, first: int, seed: int, amount: float) -> Tensor:
    """Known frames with a little noise, as diffusion forcing is followed best.

    Args:
        latents: (b, c, t, h, w) clean, scaled as the model takes them.
        first: number of the first of them in the whole video.
        seed: of the video; the noise is not that which the video is sampled from.
        amount: timestep it corresponds to, 0 … 60.

    Returns:
        latents·(1 - amount / 1000) + noise·amount / 1000. The reference draws the noise anew at
        every call and unseeded; here it is one for each frame.
    """
    if not 0 <= amount <= MOST_NOISE:
        raise InputError(
            f"reference noise {amount}: choose from 0 to {MOST_NOISE}; {REFERENCE_NOISE} is usual."
        )
    b, c, t, h, w = latents.shape
    noise = video_noise((seed + 1) % 2**64, range(first, first + t), (c, h, w), b)
    share = amount / 1000
    return latents * (1 - share) + noise.to(latents) * share

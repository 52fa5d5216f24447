"""Muon on the matrices, Adam on the rest, for a bfloat16 model with float32 masters.

All parameters are in one flat buffer and all gradients in another: one all-reduce per step, and a
checkpoint is a handful of tensors.
"""

from math import isfinite

import torch
import torch.distributed as dist
from torch import Tensor, nn

from longtake.models.errors import NotFiniteError


def orthogonal(matrix: Tensor, steps: int = 4) -> Tensor:
    """matrix: (n, rows, columns) -> the same, each singular value pushed towards 1, in bfloat16.

    A step is x <- (a + b·x xᵀ + c·(x xᵀ)²) x. All steps together are a polynomial in the first
    x xᵀ, which is small: that is iterated, and the large matrix is multiplied only twice.

    Source: Jordan et al. 2024, Muon, the quintic Newton-Schulz iteration and its coefficients.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = matrix.shape[1] > matrix.shape[2]
    x = matrix.transpose(1, 2) if tall else matrix
    x = (x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)).bfloat16()
    gram = (x @ x.transpose(1, 2)).float()
    one = torch.eye(gram.shape[-1], device=gram.device)
    whole = one.expand_as(gram)
    for _ in range(steps):
        factor = a * one + b * gram + c * gram @ gram
        whole = factor @ whole
        gram = factor @ gram @ factor
    x = whole.bfloat16() @ x
    return x.transpose(1, 2) if tall else x


def ordered(
    model: nn.Module, adam_names: tuple[str, ...]
) -> tuple[list[tuple[str, nn.Parameter]], int]:
    """Parameters in the flat buffers' order, matrices first, and how many those are."""

    def is_matrix(name: str, p: Tensor) -> bool:
        big = p.ndim > 1 and min(p.shape[0], p[0].numel()) > 8
        return big and not any(part in name for part in adam_names)

    named = sorted(model.named_parameters(), key=lambda item: not is_matrix(*item))
    return named, sum(is_matrix(*item) for item in named)


@torch.no_grad()
def load_average(model: nn.Module, adam_names: tuple[str, ...], flat: Tensor) -> None:
    """Load the average that the optimizer of a model like this one kept, flat."""
    at = 0
    for _, p in ordered(model, adam_names)[0]:
        p.copy_(flat[at : at + p.numel()].view(p.shape))
        at += p.numel()


class FlatOptimizer:
    """Steps all parameters of a model; each process computes one part of the batch or more.

    Args:
        model: its parameters become views of one flat buffer of their own dtype.
        muon_rate: learning rate of the matrices (linear and convolution weights of the body).
        adam_rate: learning rate of everything else: norms, biases, embeddings, ends.
        adam_names: parts of the names of matrices that go to Adam all the same.
        ema: decay of the running average of the weights, which is what is shipped.
    """

    def __init__(
        self,
        model: nn.Module,
        muon_rate: float,
        adam_rate: float,
        adam_names: tuple[str, ...] = (),
        ema: float = 0.999,
    ):
        named, self.matrices = ordered(model, adam_names)
        self.parameters = [p for _, p in named]
        self.rates = (muon_rate, adam_rate)
        self.ema_decay = ema
        self.step_count = 0
        self.weights = torch.cat([p.detach().flatten() for p in self.parameters])
        self.grads = torch.zeros_like(self.weights)
        self.master = self.weights.float()
        self.total = torch.zeros_like(self.master)
        self.parts = 0
        self.ema = self.master.clone()
        self.momentum = torch.zeros_like(self.master)
        self._adopt()
        self.boundary = ([stop for _, stop in self.spans] + [0])[self.matrices - 1]
        self.square = torch.zeros_like(self.master[self.boundary :])
        self.groups = self._by_shape()

    def _adopt(self) -> None:
        """Make every parameter and its gradient views of the flat buffers."""
        self.spans, at = [], 0
        for p in self.parameters:
            span = (at, at + p.numel())
            p.data = self.weights[slice(*span)].view(p.shape)
            p.grad = self.grads[slice(*span)].view(p.shape)
            self.spans.append(span)
            at = span[1]

    def _by_shape(self) -> list[tuple[tuple[int, int], list[slice]]]:
        """Matrices of one shape are orthogonalized together; each process takes its share."""
        groups: dict[tuple[int, int], list[slice]] = {}
        for span, p in zip(self.spans[: self.matrices], self.parameters, strict=False):
            groups.setdefault((p.shape[0], p[0].numel()), []).append(slice(*span))
        rank, world = place()
        shares = ((shape, spans[rank::world]) for shape, spans in groups.items())
        return [(shape, spans) for shape, spans in shares if spans]

    def gather(self) -> None:
        """Add up the gradient of one part of the batch, after its `backward`."""
        self.total += self.grads
        self.parts += 1
        self.grads.zero_()

    def step(self, scale: float, clip: float = 1.0) -> float:
        """One step, at `scale` times the learning rates, along the mean of the parts gathered.

        All processes must have gathered the same number. Their sum does not depend on how the
        parts were distributed.

        Returns:
            the gradient's norm.

        Raises:
            NotFiniteError: if that is NaN or infinite; then nothing has changed.
        """
        grads = self.total
        if place()[1] > 1:
            dist.all_reduce(grads)
        grads /= self.parts * place()[1]
        norm = grads.norm().item()
        if not isfinite(norm):
            raise NotFiniteError(f"the gradient of step {self.step_count} is {norm}.")
        if norm > clip:
            grads *= clip / norm
        self.step_count += 1
        self._muon(grads[: self.boundary], self.rates[0] * scale)
        self._adam(grads[self.boundary :], self.rates[1] * scale)
        warm = (1 + self.step_count) / (20 + self.step_count)
        self.ema.lerp_(self.master, 1 - min(self.ema_decay, warm))
        self.weights.copy_(self.master)
        self.total.zero_()
        self.parts = 0
        return norm

    def _adam(self, grads: Tensor, rate: float) -> None:
        momentum = self.momentum[self.boundary :].lerp_(grads, 0.1)
        square = self.square.lerp_(grads.square(), 0.01)
        root = (square / (1 - 0.99**self.step_count)).sqrt_().add_(1e-8)
        rate /= 1 - 0.9**self.step_count
        self.master[self.boundary :].addcdiv_(momentum, root, value=-rate)

    def _muon(self, grads: Tensor, rate: float) -> None:
        """Orthogonalized Nesterov momentum; each process computes its share of the matrices."""
        momentum = self.momentum[: self.boundary].lerp_(grads, 0.05)
        ahead = grads.lerp_(momentum, 0.95)
        update = torch.zeros_like(ahead, dtype=torch.bfloat16)
        for (rows, columns), spans in self.groups:
            moved = orthogonal(torch.stack([ahead[i] for i in spans]).view(-1, rows, columns))
            moved *= max(1, rows / columns) ** 0.5
            for i, one in zip(spans, moved, strict=True):
                update[i] = one.flatten()
        if place()[1] > 1:
            dist.all_reduce(update)
        self.master[: self.boundary].add_(update, alpha=-rate)

    def state(self) -> dict[str, Tensor]:
        """Everything needed to resume, by name."""
        keep = ("master", "ema", "momentum", "square")
        return {k: getattr(self, k) for k in keep} | {"step": torch.tensor(self.step_count)}

    def load(self, state: dict[str, Tensor]) -> None:
        """Resume from what `state` returned."""
        for k in ("master", "ema", "momentum", "square"):
            getattr(self, k).copy_(state[k])
        self.step_count = int(state["step"])
        self.weights.copy_(self.master)


def place() -> tuple[int, int]:
    """(rank, number of processes)."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)

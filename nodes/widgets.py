"""Widgets that several nodes have. `checks` looks at what comes out of them."""

from comfy_api.latest import io

from ..host.sampling.sample import SAMPLERS

CFG, SEEDS = (0.0, 100.0), (0, 2**64 - 1)


def number(
    name: str,
    default: float,
    span: tuple[float, float],
    tooltip: str,
    *,
    step: float = 0.1,
    round: float | None = 0.001,
    **kw,
) -> io.Float.Input:
    """A number from span[0] to span[1]; `step` is what the arrows beside it add."""
    return io.Float.Input(
        name,
        default=default,
        min=span[0],
        max=span[1],
        step=step,
        round=round,
        tooltip=tooltip,
        **kw,
    )


def whole(name: str, default: int, span: tuple[int, int], tooltip: str, **kw) -> io.Int.Input:
    """A whole number from span[0] to span[1]."""
    return io.Int.Input(name, default=default, min=span[0], max=span[1], tooltip=tooltip, **kw)


def seed(tooltip: str) -> io.Int.Input:
    return whole("seed", 0, SEEDS, tooltip, control_after_generate=True)


def cfg() -> io.Float.Input:
    return number(
        "cfg",
        4.0,
        CFG,
        "How strongly the prompts are followed: 4 for the built-in model, 5 or 6 for Wan. 1 "
        "ignores the negative prompt and halves the time. 0: what the checkpoint was made for.",
    )


def sampler() -> io.Combo.Input:
    return io.Combo.Input(
        "sampler",
        options=list(SAMPLERS),
        default="euler",
        tooltip="How to get from one noise level to the next. euler is plain and exact; uni_pc is "
        "what Wan's own code uses.",
    )

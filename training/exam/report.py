"""Tables of scores, for the terminal and as Markdown beside their JSON."""

import argparse
import json
from pathlib import Path

from ..solvers import Settings
from .judge import SCORES

# Percent asked for where a GPU trained the model, and (in brackets) on CPUs alone.
GOALS = {
    "colour": (99, 98),
    "ground": (99, 99),
    "time": (99, 98),
    "shape": (92, 80),
    "motion": (92, 82),
    "left_right": (99, 95),
    "camera": (90, 78),
    "cut": (95, 90),
    "no_cut": (95, 90),
    "one_all": (75, 55),
    "two_all": (60, 40),
}
HEADS = (
    "",
    "right %",
    "95 % interval",
    "n",
    "goal (CPU)",
    "other prompts",
    "detector",
    "after VAE",
)


def rows(report: dict) -> list[tuple[str, ...]]:
    """The cells of every score."""
    return [
        (
            SCORES[name],
            _cell(row["percent"]),
            "{:.0f} to {:.0f}".format(*row["interval"]),
            str(row["n"]),
            "{} ({})".format(*GOALS[name]) if name in GOALS else "",
            _cell(row["chance"]),
            _cell(row["detector"]),
            _cell(row["detector_after_vae"]),
        )
        for name, row in report["scores"].items()
    ]


def _cell(percent: float | None) -> str:
    return "" if percent is None else f"{percent:.1f}"


def show(report: dict) -> None:
    """Print the table."""
    for cells in (HEADS, *rows(report)):
        print("{:<44}{:>8}{:>15}{:>5}{:>12}{:>15}{:>10}{:>11}".format(*cells))
    print(_vae(report["vae"]))


def _vae(vae: dict) -> str:
    if not vae:
        return ""
    line = (
        "VAE: {psnr_db} dB on {clips} held-out clips, the worst {worst_psnr_db} dB; pictures are "
        "{grid_4} times steeper across the borders of 4-pixel blocks and {grid_16} times across "
        "those of 16-pixel blocks than the originals are."
    )
    return line.format(**vae)


def markdown_table(heads: tuple[str, ...], cells: list[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [heads, ("---",) * len(heads), *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def scores_page(report: dict) -> str:
    """The report as a page."""
    settings = ", ".join(f"{k} {v}" for k, v in report["settings"].items())
    return f"""# Scores of the built-in model

`{_command(report)}`: {report["clips"]} prompts of pairs of colour and shape, or colour and \
motion, that were never trained, with synonyms; half of them in an order of words that was never \
trained either. Of twenty prompts eleven show one object under a camera at rest (three of them \
move left or right and do not count among the nine motions), and three each a moving camera, two \
objects, a cut. Settings: {settings}.

Classical detectors judge the clips. "Other prompts" is what the same clips score when each is \
judged by the prompt before it of the same kind: what a model scores that does not listen. \
"Detector" and "after VAE" say how often the detectors themselves are right, on \
{report["calibration_clips"]} rendered clips, as they are and after a round trip through the VAE.

{markdown_table(HEADS, rows(report))}
{_vae(report["vae"])}

{report["cpu_seconds_per_clip"]} seconds of CPU for each clip, its judgement included.
"""


def _command(report: dict) -> str:
    """The command that was run, with the settings that differ from the nodes' own."""
    usual, used = vars(Settings()), report["settings"]
    options = {"clips": "clips", "calibrate": "calibration_clips", "seed": "seed"}
    given = {option: report[key] for option, key in options.items()}
    given |= {k: used[k] for k in ("steps", "cfg", "shift", "sampler") if used[k] != usual[k]}
    return " ".join(["python -m training.exam.evaluate", *(f"--{k} {v}" for k, v in given.items())])


def write_report(path: Path, page: str, report: dict) -> None:
    """Write `path` with .md and with .json."""
    path.with_suffix(".md").write_text(page, encoding="utf-8")
    path.with_suffix(".json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def pooled(reports: list[dict]) -> dict[str, tuple[float, int]]:
    """By score: percent right over several reports, and their number of prompts."""
    found = {}
    for name in reports[0]["scores"]:
        rows = [report["scores"][name] for report in reports]
        n = sum(row["n"] for row in rows)
        right = sum(round(row["percent"] * row["n"] / 100) for row in rows)
        found[name] = (round(100 * right / n, 1), n)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Pools the scores of several reports.")
    parser.add_argument("reports", nargs="+", type=Path, help="report.json, of other seeds")
    paths = parser.parse_args().reports
    for name, row in pooled([json.loads(path.read_text("utf-8")) for path in paths]).items():
        print(f"{name:<14}{row[0]:>7} of {row[1]}")


if __name__ == "__main__":
    main()

"""All there is to find out on a card, in ten minutes, without weights: a page to paste, and JSON.

Each way in which ComfyUI can be told to use a card is tried in processes of its own, in which
ComfyUI's main.py has done all but serve. In them the built-in model makes the same video twice, its
weights having been off the card between; a take goes on whose process was killed; two blocks
of Wan's transformers with random weights sample, ours and core's; in one mode blocks and VAEs
are timed against core's and diffusers', and what each holds at most is compared with what the host
was asked for. A row says what should be; where it is not so, that is what to report.
"""

import argparse
import contextlib
import importlib
import json
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from pack import register

register()

MODES = {  # ComfyUI's options
    "as it is": (),
    "without dynamic VRAM": ("--disable-dynamic-vram",),
    "low VRAM": ("--lowvram",),
    "GPU only": ("--gpu-only",),
    "fp8 products": ("--fast", "fp8_matrix_mult"),
}
NOT_BESIDE_CPU = ("--lowvram", "--gpu-only")  # options that ComfyUI refuses there
LONGEST = 300  # seconds of a mode
WINDOWS = Path("output", "longtake", "windows")


def options_of(mode: str, on_cpu: bool) -> list[str]:
    """ComfyUI's options in a mode, but for those that the one at hand does not know."""
    from environment import comfyui_folder

    known = (comfyui_folder() / "comfy" / "cli_args.py").read_text(encoding="utf-8")
    options = [word for word in MODES[mode] if word[:2] != "--" or f'"{word}"' in known]
    if on_cpu:
        options = ["--cpu", *(word for word in options if word not in NOT_BESIDE_CPU)]
    return options


def start_comfyui(options: list[str], base: Path) -> None:
    """What ComfyUI's main.py does before it serves: it, and nobody else, sets up dynamic VRAM, and
    it wants to do so before torch is imported."""
    from environment import comfyui_folder

    for folder in ("custom_nodes", "input", "output", "models", "temp", "user"):
        (base / folder).mkdir(exist_ok=True)
    sys.path.insert(0, str(comfyui_folder()))
    given = ["--base-directory", str(base), "--disable-all-custom-nodes", "--disable-api-nodes"]
    own, sys.argv = sys.argv, ["main.py", *given, "--database-url", "sqlite:///:memory:", *options]
    with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
        warnings.simplefilter("ignore")
        import main  # noqa: F401 - ComfyUI's
    sys.argv = own


def in_a_mode(options: argparse.Namespace) -> None:
    """The whole of one process."""
    start_comfyui(options_of(options.mode, options.cpu), options.base)
    rows = importlib.import_module("_card_rows")  # and with it torch
    if options.cpu:
        rows.rehearse(options.mode)
    if options.take:
        rows.a_take(options.base, options.dry)
    else:
        print(json.dumps(list(rows.rows_of(options.mode, options.base, options.dry))))


def killed_within_a_take(command: list[str], base: Path) -> None:
    """A process begins a take and is killed, as by the system, when a window of it is on disk."""
    with subprocess.Popen([*command, "--take"], stdout=subprocess.DEVNULL) as process:
        until = time.monotonic() + LONGEST
        while process.poll() is None and time.monotonic() < until:
            if any((base / WINDOWS).glob("*.safetensors")):
                break
            time.sleep(0.005)
        process.kill()


def in_processes(mode: str, dry: bool, on_cpu: bool) -> list[dict]:
    """The rows of a mode, in ComfyUIs of its own."""
    print(f"{mode} ...", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(prefix="longtake-card-") as folder:
        words = ["--mode", mode, "--base", folder]
        command = [sys.executable, __file__, *words, *["--dry"] * dry, *["--cpu"] * on_cpu]
        killed_within_a_take(command, Path(folder))
        try:
            done = subprocess.run(
                command, check=False, stdout=subprocess.PIPE, text=True, timeout=LONGEST
            )
        except subprocess.TimeoutExpired:
            return [{"what": "all of it", "found": f"not done after {LONGEST} s", "ok": False}]
    if done.returncode:
        found = f"ended with status {done.returncode}; the reason is above"
        return [{"what": "all of it", "found": found, "ok": False}]
    return json.loads(done.stdout.splitlines()[-1])


def page(facts: dict, options: dict[str, list[str]], found: dict[str, list[dict]]) -> str:
    """What a person pastes into an issue."""
    lines = [", ".join(f"{name} {value}" for name, value in facts.items()), ""]
    for mode, rows in found.items():
        lines += [f"**{mode}** `{' '.join(options[mode])}`", "", "| | what | found | should be |"]
        lines += ["|---|---|---|---|"]
        lines += [
            f"| {'ok' if row['ok'] else '**no**'} | {row['what']} | {row['found']} | "
            f"{row.get('should', '')} |"
            for row in rows
        ]
        lines.append("")
    return "\n".join(lines)


def facts(dry: bool) -> dict[str, object]:
    import torch
    from _measure import machine

    from environment import comfyui_folder, version_of

    memory = 0.0
    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory / 2**30
    found = {**machine(), "card_gib": round(memory, 1), "comfyui": version_of(comfyui_folder())}
    return {**found, "system": sys.platform, **({"rehearsal": "tiny sizes"} if dry else {})}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    parser.add_argument("--dry", action="store_true", help="tiny sizes, to see that it runs")
    for word in ("--mode", "--base"):
        parser.add_argument(word, type=Path if word == "--base" else str, help=argparse.SUPPRESS)
    for word in ("--take", "--cpu"):
        parser.add_argument(word, action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.mode:
        in_a_mode(options)
        return
    about = facts(options.dry)
    on_cpu = about["device"] == "cpu"
    words = {mode: options_of(mode, on_cpu) for mode in options.modes}
    found = {mode: in_processes(mode, options.dry, on_cpu) for mode in options.modes}
    print(page(about, words, found))
    print(json.dumps({**about, "dry": options.dry, "modes": found}))


if __name__ == "__main__":
    main()

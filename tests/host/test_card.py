"""`dev.py card` on a machine without a card: tiny sizes, to see that it runs and what it says.

Each mode starts ComfyUI twice. Two have every kind of row, dynamic VRAM on and off, and options of
ComfyUI's; `python dev.py test tests/host/test_card.py --slow` has the others rehearsed, too.
"""

import json
import subprocess
import sys

import pytest

from environment import ROOT, comfyui_folder

ALWAYS = ("without dynamic VRAM", "fp8 products")
MODES = (*ALWAYS, "as it is", "low VRAM", "GPU only")
EVERY = [*["built-in model"] * 2, "dynamic VRAM", "a take whose process was killed"]
RUNS = ["a run"] * 2
MORE = {
    "without dynamic VRAM": [*RUNS, *["two blocks"] * 3, *["decoding"] * 2],
    "fp8 products": ["a run"],
}


@pytest.fixture(scope="module")
def rehearsed(request) -> tuple[str, ...]:
    return MODES if request.config.getoption("--slow") else ALWAYS


@pytest.fixture(scope="module")
def rehearsal(rehearsed) -> tuple[list[str], dict]:
    """Lines of the page, and the JSON document."""
    command = [sys.executable, ROOT / "benchmarks" / "card.py", "--dry", "--modes", *rehearsed]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=900)
    *page, last = done.stdout.splitlines()
    return page, json.loads(last)


@pytest.fixture(autouse=True, scope="module")
def the_host_at_hand():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COMFYUI_PATH", str(comfyui_folder()))
        yield


@pytest.mark.parametrize("mode", MODES)
def test_every_row_of_a_rehearsal_is_as_it_should_be(rehearsed, rehearsal, mode):
    if mode not in rehearsed:
        pytest.skip("--slow has this one rehearsed")
    page, found = rehearsal
    rows = found["modes"][mode]
    assert [row["what"].split(",")[0] for row in rows] == EVERY + MORE.get(mode, RUNS)
    assert all(row["ok"] for row in rows), rows
    for row in rows:
        line = f"| ok | {row['what']} | {row['found']} | {row['should']} |"
        assert line in page
        sizes = {name: value for name, value in row.items() if name.endswith("_bytes")}
        assert min(sizes.values(), default=1) > 0


def test_dynamic_vram_is_rehearsed_where_a_card_has_it(rehearsed, rehearsal):
    _, found = rehearsal
    on = {mode for mode, rows in found["modes"].items() if rows[2]["found"] == "on"}
    assert on == {"as it is", "fp8 products"} & {*rehearsed}


def test_a_page_says_what_machine_it_is_of(rehearsed, rehearsal):
    page, found = rehearsal
    assert list(found["modes"]) == list(rehearsed)
    assert page[0].startswith(f"device {found['device']}, torch {found['torch']}")
    assert "rehearsal tiny sizes" in page[0]
    assert found["dry"] is True

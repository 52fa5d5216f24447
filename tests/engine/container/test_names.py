"""No name leads out of its folder, and every name that is let through can be stored."""

from pathlib import Path, PureWindowsPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longtake.engine.container.names import safe_name
from longtake.models.errors import InputError

PIECES = ["..", ".", "/", "\\", "a", "ü", "C:", "~", "%2e", "con", " ", "\0", "\n", "x.mp4", ":"]


@pytest.mark.parametrize(
    ("prefix", "name"),
    [
        ("take", "take"),
        ("takes/forest", "takes/forest"),
        (r"takes\forest", "takes/forest"),
        ("takes//./forest", "takes/forest"),
        ("Fußweg 🌲-1.5", "Fußweg 🌲-1.5"),
        ("e\u0301te\u0301", "été"),  # put together, so that a folder cannot hold both
        ("concert", "concert"),
    ],
)
def test_ordinary_names_are_let_through(prefix, name):
    assert safe_name(prefix).as_posix() == name


@pytest.mark.parametrize(
    ("prefix", "why"),
    [
        ("", "a name is needed"),
        (".", "a name is needed"),
        ("takes/", "a name is needed"),
        ("/etc/passwd", "relative to the output folder"),
        (r"\\server\share", "relative to the output folder"),
        (r"C:\x", "relative to the output folder"),
        ("c:x", "relative to the output folder"),
        ("..", "would leave"),
        ("../../x", "would leave"),
        ("a/../../b", "would leave"),
        (r"..\..\x", "would leave"),
        ("a\0b", r"'\\x00' cannot be"),
        ("a\nb", r"'\\n' cannot be"),
        ("http://127.0.0.1/x", "':' cannot be"),
        ("what?", r"'\?' cannot be"),
        ("CON", "device on Windows"),
        ("a/aux.mp4", "device on Windows"),
        ("nul .txt/x", "device on Windows"),
        ("COM\u00b9/x", "device on Windows"),
        ("lpt\u00b3.x", "device on Windows"),
        ("CONIN$", "device on Windows"),
        ("a.", "end with a space or a dot"),
        (" a", "begin with a space"),
        (".a", "hidden"),
        ("\ud800", "not valid text"),
        ("x" * 121, "121 bytes; at most 120"),
        ("ü" * 61, "122 bytes"),
        ("x/" * 8 + "x", "8 folders"),
        ("x" * 5000, r"^'x{57}\.\.\.' cannot be the name"),
    ],
)
def test_other_names_are_refused_with_the_reason(prefix, why):
    with pytest.raises(InputError, match=why):
        safe_name(prefix)


@settings(max_examples=2000)
@given(st.one_of(st.lists(st.sampled_from(PIECES)).map("".join), st.text()))
def test_no_name_leads_out_of_its_folder(prefix):
    try:
        name = safe_name(prefix)
    except InputError:
        return
    folder = Path("/base")
    assert (folder / name).resolve().is_relative_to(folder)
    assert not PureWindowsPath(name).anchor
    assert name.parts
    assert all(0 < len(part.encode()) <= 120 for part in name.parts)


@pytest.mark.parametrize("prefix", ["\u202egpj.exe", "a/\u2066b", "x\u200f"])
def test_what_turns_letters_around_is_refused(prefix):
    with pytest.raises(InputError, match=r"'\\u20..' would show it in another order") as refused:
        safe_name(prefix)
    assert str(refused.value).isascii()


def test_a_name_that_nobody_sees_is_refused_and_joined_letters_are_not():
    for prefix in ("\u200b", "a/\u2060\u200d"):
        with pytest.raises(InputError, match="nobody could see it"):
            safe_name(prefix)
    assert str(safe_name("\U0001f469\u200d\U0001f467")) == "\U0001f469\u200d\U0001f467"


def test_what_the_locale_cannot_hold_is_refused_with_what_to_do(monkeypatch):
    def ascii_names(name):
        return name.encode("ascii")

    monkeypatch.setattr("longtake.engine.container.names.os.fsencode", ascii_names)
    assert str(safe_name("takes/forest")) == "takes/forest"
    with pytest.raises(InputError, match="which has no 'ê'; with PYTHONUTF8=1 .* can save it"):
        safe_name("takes/forêt")

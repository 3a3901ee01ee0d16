"""A tar file of the Decathlon as downloaded -> its folder."""

import io
import tarfile

import pytest

from uniseg.commands import app
from uniseg.datasets.import_nnunet import import_nnunet_datasets
from uniseg.datasets.unpack import unpack
from uniseg.errors import InputError

FILES = {
    "./Task04_Hippocampus/dataset.json": b"{}",
    "./Task04_Hippocampus/imagesTr/hippocampus_001.nii.gz": b"image",
    "./._Task04_Hippocampus": b"macOS",
    "./Task04_Hippocampus/imagesTr/._hippocampus_001.nii.gz": b"macOS",
    "./Task04_Hippocampus/.DS_Store": b"macOS",
}


def pack(path, files=FILES, extra=(), mode="w"):
    with tarfile.open(path, mode) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        for member in extra:
            tar.addfile(member)
    return path


def contents(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(("name", "mode"), [("Task04_Hippocampus.tar", "w"), ("t.tar.gz", "w:gz"), ("T.TGZ", "w:gz")])
def test_the_folder_appears_without_what_macos_added(name, mode, tmp_path):
    folder, number = unpack(pack(tmp_path / name, mode=mode))
    assert (folder, number) == (tmp_path / "Task04_Hippocampus", 2)
    assert contents(folder) == {"dataset.json", "imagesTr/hippocampus_001.nii.gz"}
    assert {path.name for path in tmp_path.iterdir()} == {name, "Task04_Hippocampus"}


def test_a_folder_that_is_whole_stays(tmp_path):
    archive = pack(tmp_path / "t.tar")
    folder, _ = unpack(archive)
    before = (folder / "dataset.json").stat().st_mtime_ns
    (folder / "splits_final.json").write_text("[]")
    assert unpack(archive) == (folder, 2)
    assert (folder / "dataset.json").stat().st_mtime_ns == before


@pytest.mark.parametrize("damage", ["missing", "short"])
def test_a_folder_that_is_not_whole_is_refused(damage, tmp_path):
    archive = pack(tmp_path / "t.tar")
    image = unpack(archive)[0] / "imagesTr/hippocampus_001.nii.gz"
    image.unlink() if damage == "missing" else image.write_bytes(b"im")
    with pytest.raises(InputError, match=r"found 1 of 2 files missing or of another size, as .*_001.nii.gz; .*move"):
        unpack(archive)


def link(name, target, kind=tarfile.SYMTYPE):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


@pytest.mark.parametrize(
    ("files", "extra", "message"),
    [
        ({"../evil": b"x"}, (), "leads out of its folder"),
        ({"Task/a": b"x", "Task/../../evil": b"x"}, (), "leads out of its folder"),
        ({"Task/a": b"x"}, [link("Task/b", "/etc/passwd")], "leads out of its folder"),
        ({"Task/a": b"x"}, [link("Task/b", "a")], "a link or device"),
        ({"Task/a": b"x"}, [link("Task/b", "", tarfile.FIFOTYPE)], "no plain file"),
        ({"Task/a": b"x", "Other/a": b"x"}, (), "'Other/a' beside 'Task'"),
        ({"a": b"x"}, (), "'a' beside 'a'"),
        ({}, (), "no file inside"),
    ],
)
def test_what_is_no_single_folder_of_files_is_refused(files, extra, message, tmp_path):
    (tmp_path / "in").mkdir()
    archive = pack(tmp_path / "in/t.tar", files, extra)
    with pytest.raises(InputError, match=message) as refusal:
        unpack(archive)
    assert "\n" not in str(refusal.value)
    assert contents(tmp_path) == {"in/t.tar"}


def test_a_damaged_archive_leaves_nothing(tmp_path):
    archive = pack(tmp_path / "t.tar.gz", mode="w:gz")
    archive.write_bytes(archive.read_bytes()[:-20])
    with pytest.raises(InputError, match=r"a damaged archive .*download it again"):
        unpack(archive)
    assert [path.name for path in tmp_path.iterdir()] == ["t.tar.gz"]
    (tmp_path / "x.tar").write_bytes(b"no tar")
    with pytest.raises(InputError, match="a damaged archive"):
        unpack(tmp_path / "x.tar")


def test_what_is_no_archive_is_named(tmp_path):
    (tmp_path / "x.zip").touch()
    for name in ("x.zip", "none.tar"):
        with pytest.raises(InputError, match=r"no archive; expected a file \.tar"):
            unpack(tmp_path / name)


def test_an_import_says_how_to_unpack(tmp_path):
    archive = pack(tmp_path / "t.tar")
    for given in (archive, tmp_path):
        with pytest.raises(InputError, match=f"uniseg prepare unpack={archive} makes"):
            import_nnunet_datasets(given)


def test_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    files = {name.replace("Task04_Hippocampus", "Task09_Spleen"): content for name, content in FILES.items()}
    archive = pack(tmp_path / "data/Task09_Spleen.tar", files)
    assert app.run(["prepare", "task=[spleen]", "paths.data=data"]).code == 2
    assert "uniseg prepare unpack=data/Task09_Spleen.tar makes data/Task09_Spleen." in capsys.readouterr().err
    assert app.run(["prepare", f"unpack={archive}"]).code == 0
    assert "2 files. Next:" in capsys.readouterr().err
    assert (tmp_path / "data/Task09_Spleen/dataset.json").is_file()

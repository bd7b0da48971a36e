"""What is put in order before the first process runs."""

from pathlib import Path

from devices.server import bootstrap


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_the_data_folder_and_its_backups_are_closed_to_others(tmp_path: Path) -> None:
    data, outside = tmp_path / "data", tmp_path / "outside"
    outside.write_text("")
    outside.chmod(0o644)
    for folder in (data, data / "backups", data / "log"):
        folder.mkdir(mode=0o755)
        folder.chmod(0o755)
    files = [data / "db.sqlite3", data / "backups" / "kept.tar.gz", data / "log" / "web.log"]
    for file in files:
        file.write_text("")
        file.chmod(0o644)
    (data / "link").symlink_to(outside)
    assert "could read" in bootstrap.prepare_data_dir(data)
    bootstrap.keep_private(data)
    assert {mode(folder) for folder in (data, data / "backups", data / "log")} == {0o700}
    assert {mode(file) for file in files} == {0o600}
    assert mode(outside) == 0o644, "what a link leads to is not ours"

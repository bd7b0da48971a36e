"""What no command takes as an argument."""

from pathlib import Path


def test_no_command_takes_a_password_as_an_argument() -> None:
    commands = Path(__file__).resolve().parents[2] / "devices" / "management" / "commands"
    for name in ("firmware", "cloud_account", "household"):
        assert '"--password' not in (commands / f"{name}.py").read_text()

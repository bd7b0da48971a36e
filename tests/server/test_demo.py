"""The demo's settings hold nothing of a real installation."""

from pathlib import Path

from devices.server import demo


def demo_environment(around: dict[str, str]) -> dict[str, str]:
    return demo.environment(around, data_dir=Path("/somewhere/demo"), port=8000, cloud_port=8001)


def test_nothing_of_the_real_installation_reaches_the_demo() -> None:
    real = {
        "PATH": "/bin",
        "SECRET_KEY": "real",
        "DATABASE_URL": "postgres://real",
        "ENV_FILE": "/etc/real.env",
        "PUBLIC_URL": "https://real.example.org",
        "DEFAULT_CLOUD_URL": "https://api.iot.thermacell.com",
        "EMAIL_URL": "smtp://real",
        "DATA_DIR": "/srv/real",
    }
    environment = demo_environment(real)
    assert environment["PATH"] == "/bin"
    assert not [name for name, value in environment.items() if "real" in value]
    assert environment["DEFAULT_CLOUD_URL"] == "http://127.0.0.1:8001"
    assert demo_environment(environment) == environment

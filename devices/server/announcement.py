"""What the start prints once everything answers, and what it says about likely mistakes."""

from pathlib import Path

from django.conf import settings

from devices.households import setup_link
from devices.models import User
from devices.presentation.settings_notes import about_settings
from devices.server.demo_data import sign_in_lines


def text(
    *, public_url: str, bind: str, port: int, data_dir: str, took_s: float, is_demo: bool
) -> str:
    """Return the address, the way in and the notes; of the demo also who may sign in."""
    lines = ["", f"Thermacell Web is running: {public_url}/", ""]
    if is_demo:
        lines += sign_in_lines()
    elif not User.objects.exists():
        lines += [
            "There is no sign-in yet. This link makes you the owner of the first household;",
            "it works once, and for a day:",
            "",
            f"    {public_url}/welcome/{setup_link.make_token()}/",
            "",
        ]
        if setup_link.stays_here(public_url):
            lines += ["It opens only on this computer, until PUBLIC_URL is set (README.md).", ""]
    for sentence in about_settings(bind, port, public_url):
        lines += [f"Note: {sentence}", ""]
    what = "Data is" if settings.LOG_TO == "stdout" else "Data and logs are"
    lines += [f"{what} in {data_dir}. Started in {took_s:.1f} s.", "Ctrl-C stops everything."]
    return "\n".join(lines)


def short(path: Path) -> str:
    """Return the path from the current folder, where it is below that."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)

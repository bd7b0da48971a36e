"""Write docs/settings.md from .env.example, which a test holds against the code.

`--check` fails when it is not as it would be written.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "settings.md"
HEAD = """# Settings

Made from [.env.example](../.env.example) by `docs/tools/list_settings.py`. Each is optional; –
means that it is not set.

| setting | default | what it does |
|---|---|---|
"""


def rows() -> list[str]:
    """Return the lines of the table; settings in a row share what stands above them."""
    found: list[tuple[str, list[str], list[str]]] = []
    about: list[str] = []
    for line in (ROOT / ".env.example").read_text().splitlines()[3:]:
        setting = re.fullmatch(r"# ([A-Z][A-Z0-9_]*)=(.*)", line)
        if setting is None:
            about = [*about, line[2:]] if line else []
            continue
        if about or not found:
            found.append((" ".join(about).replace("|", "\\|"), [], []))
            about = []
        found[-1][1].append(f"`{setting[1]}`")
        found[-1][2].append(f"`{setting[2]}`" if setting[2] else "–")
    return [f"| {'<br>'.join(n)} | {'<br>'.join(d)} | {words} |" for words, n, d in found]


def main() -> None:
    text = HEAD + "\n".join(rows()) + "\n"
    if "--check" not in sys.argv:
        PAGE.write_text(text)
    elif not PAGE.exists() or PAGE.read_text() != text:
        sys.exit("docs/settings.md is out of date: run python docs/tools/list_settings.py")


if __name__ == "__main__":
    main()

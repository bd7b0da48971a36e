"""Check that every relative link and every file named in README.md and docs/ exists.

A name in backticks counts as a file when it looks like one: from the top of the repository, or from
devices/, as in `installs/push.py`.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
LINK = re.compile(r"\]\(([^)\s]+)\)")
FILE = re.compile(r"`((?:[\w.-]+/)*[\w.-]+\.(?:py|md|js|html|toml|example)|(?:[\w.-]+/)+)`")
# Named in the text, but not in the repository.
MADE_LATER = {"keys.json", "backups/", "firmware/", "log/"}
MADE_LATER.add("PUBLIC_URL/account/sso/login/callback/")


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {heading.strip().replace(" ", "-") for heading in plain}


def faults(page: Path) -> list[str]:
    """Return what a page names and what is not there."""
    text = page.read_text(encoding="utf-8")
    found = []
    for link in LINK.findall(text):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            found.append(link)
    for name in FILE.findall(text):
        places = (ROOT / name, ROOT / "devices" / name, page.parent / name)
        is_bare = "/" not in name and any(ROOT.glob(f"devices/*/{name}"))
        if name not in MADE_LATER and not is_bare and not any(place.exists() for place in places):
            found.append(name)
    return [f"{page.relative_to(ROOT)}: {name} does not exist" for name in found]


def main() -> None:
    """End with 1 and the list when something is missing."""
    # the changelog also names what is gone
    pages = [page for page in sorted(ROOT.glob("*.md")) if page.name != "CHANGELOG.md"]
    pages += sorted((ROOT / "docs").rglob("*.md"))
    if missing := [fault for page in pages for fault in faults(page)]:
        sys.exit("\n".join(missing))


if __name__ == "__main__":
    main()

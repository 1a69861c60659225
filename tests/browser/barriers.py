"""What keeps people out who use screen readers or keyboards, by the rules of axe-core."""

from typing import TYPE_CHECKING

import pytest

from tests.conftest import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Page

AXE = ROOT / "tests" / "browser" / "node_modules" / "axe-core" / "axe.min.js"

DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}

SETTLED_JS = """
() => !document.querySelector(".pending")
    && !document.getAnimations().some((each) => each instanceof CSSTransition)
"""
"""What waits for an answer, or fades in, is pale for a moment."""

needs_axe = pytest.mark.skipif(
    not AXE.is_file(), reason="axe-core is not installed (make axe, needs npm)"
)

OTHER_LOOKS = [
    pytest.param("dark", PHONE, marks=pytest.mark.exhaustive),
    pytest.param("dark", DESKTOP, marks=pytest.mark.exhaustive),
    pytest.param("light", PHONE, marks=pytest.mark.exhaustive),
]

LOOKS = [("light", DESKTOP), *OTHER_LOOKS]
"""One by default; colours and sizes are the same four on every tab."""

in_every_look = pytest.mark.parametrize(("colors", "size"), LOOKS)


def barriers(page: "Page") -> list[tuple[str, str, str]]:
    """Serious and critical ones: the rule, where it is broken, and how to mend it."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE.read_text("utf-8"))  # a script tag is what its own policy may forbid
    page.wait_for_function(SETTLED_JS)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    return [
        (rule["id"], node["html"][:200], node["failureSummary"])
        for rule in found
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]


def open_tab(page: "Page", name: str) -> None:
    """Through the menu of those that do not fit where the tab is in there."""
    tab = page.get_by_role("tab", name=name, exact=True)
    if not tab.is_visible():
        page.locator(".overflow-menu > button").first.click()
        tab = page.get_by_role("button", name=name, exact=True)
    tab.click()

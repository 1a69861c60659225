"""How events of the page are bound."""

from typing import Any

QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
"""Events that answer at once and are nobody else's business. They cannot refuse anything: what
went wrong is shown for events in Gradio's queue alone."""

ANSWERED: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
"""The same for what a visitor asked for, who has to see why not."""

Update = dict[str, Any]
"""Gradio's note of what changes in a component."""

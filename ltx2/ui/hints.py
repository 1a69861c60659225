"""Remarks under the prompt while it is typed; they need no model, and nothing has to be done."""

from collections.abc import Iterable
from html import escape

from ltx2.prompting.hints import Hint, hints
from ltx2.prompting.vocabulary import Vocabulary
from ltx2.ui.language import phrase, retold, say

MAX_WARNINGS = 4
"""Warnings shown at once; the others come as these are seen to."""

WARNING = phrase("Note:")
"""Said before what the clip would suffer from, so that it is not told by its colour alone."""


def render_hints(
    prompt: str, *, duration_s: float | None, vocabulary: Vocabulary | None = None
) -> str:
    """Facts of the prompt in one line and its warnings below, as HTML; nothing of an empty one."""
    found = hints(prompt, duration_s=duration_s, vocabulary=vocabulary)
    if not found:
        return ""
    facts = _unique(hint for hint in found if hint.severity == "info")
    warnings = _unique(hint for hint in found if hint.severity == "warning")
    lines = [f"<p>{escape(' '.join(map(retold, facts)))}</p>"] if facts else []
    lines += [
        f'<p class="warning"><b>{escape(say(WARNING))}</b> {escape(retold(text))}</p>'
        for text in warnings[:MAX_WARNINGS]
    ]
    if (more := len(warnings) - MAX_WARNINGS) > 0:
        left = say("1 more note.") if more == 1 else say("{count} more notes.", count=more)
        lines.append(f"<p>{escape(left)}</p>")
    return f'<div class="hints" role="status">{"".join(lines)}</div>'


def _unique(found: Iterable[Hint]) -> list[str]:
    return list(dict.fromkeys(hint.text for hint in found))

"""Text in tables that spreadsheets open."""

STARTS = ("=", "+", "-", "@", "\t", "\r")
"""What makes a spreadsheet take a cell for a formula."""


def as_cell(text: str) -> str:
    """The text, with an apostrophe before it where a spreadsheet would run it; numbers stay."""
    return f"'{text}" if text.startswith(STARTS) and not _is_number(text) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True

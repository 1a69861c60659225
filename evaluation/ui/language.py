"""What the workbench's tabs say, in the language of who reads it: as the page's own tabs do.

A text is added as ltx2/ui/README.md tells, with its translations in `phrases` here.
"""

from pathlib import Path

from ltx2.ui.language import ENGLISH, add_phrases, label, phrase, retold, say

add_phrases(Path(__file__).parent / "phrases")

__all__ = ["ENGLISH", "label", "phrase", "retold", "say"]

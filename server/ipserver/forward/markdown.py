"""Plain text for places where MLflow shows Markdown: descriptions of experiments and runs.

MLflow converts them by Showdown in the flavour of GitHub and then drops tags that it does not know, so
"width <m>" is shown as "width", and "@alice" becomes a link to a stranger.
"""

from __future__ import annotations

import re
from typing import Final

_ACTIVE: Final = re.compile(
    r"""[&<>*`\[\]~\\@]         # entities, tags, emphasis, code, links, deletions, escapes, mentions
    | (?<!\w)_ | _(?!\w)        # emphasis, except within a word
    | :(?=[\w+-]+:)             # emoji
    | \.(?=\.\.)                # ellipsis
    | ^[#=+-] | ^\d+\.          # headings and lists""",
    re.VERBOSE,
)


def shown_as(text: str) -> str:
    """Markdown that is shown as this line of text. Most names stay as they are.

    >>> shown_as("Rates of mup-2, m=64 (again)")
    'Rates of mup-2, m=64 (again)'
    >>> shown_as("1. width <m> & a_b")
    '1&#46; width &#60;m&#62; &#38; a_b'
    """
    return _ACTIVE.sub(lambda found: f"{found[0][:-1]}&#{ord(found[0][-1])};", text.strip())

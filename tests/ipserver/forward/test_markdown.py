"""Names that MLflow shows as Markdown.

The expected texts were converted by the Showdown of MLflow 3.17.2: each is shown as the name beside it.
"""

import pytest

from ipserver.forward.markdown import shown_as

NAMES = {
    "width <m> & 3 < 4": "width &#60;m&#62; &#38; 3 &#60; 4",
    "<script>alert(1)</script>": "&#60;script&#62;alert(1)&#60;/script&#62;",
    "&lt;m&gt;": "&#38;lt;m&#38;gt;",
    "a_b _c_ *d* ~~e~~ `f`": "a_b &#95;c&#95; &#42;d&#42; &#126;&#126;e&#126;&#126; &#96;f&#96;",
    "for @alice [x](y) ![z](w)": "for &#64;alice &#91;x&#93;(y) !&#91;z&#93;(w)",
    ":smile: 12:30, 1:2:3": "&#58;smile: 12:30, 1&#58;2:3",
    "# first": "&#35; first",
    "- a - b": "&#45; a - b",
    "17. a 17.": "17&#46; a 17.",
    "a... \\*": "a&#46;.. &#92;&#42;",
    "    code": "code",
    "Rate, η = 2^-3 (m=64) | L=3": "Rate, η = 2^-3 (m=64) | L=3",
}


@pytest.mark.parametrize("name", NAMES)
def test_names_are_shown_as_they_are(name):
    assert shown_as(name) == NAMES[name]

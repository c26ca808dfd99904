"""Results of the theory where text is asked for."""

import io

from rich.console import Console

from ipcore.theory.written import Written


class Result(Written):
    def __str__(self) -> str:
        return "a [derived] exponent <1/2>"


def test_rich_shows_the_text_with_its_brackets():
    console = Console(file=io.StringIO(), width=80)
    console.print(Result())
    assert console.file.getvalue() == "a [derived] exponent <1/2>\n"


def test_notebooks_show_the_text_and_read_no_markup():
    assert "a [derived] exponent &lt;1/2&gt;" in Result()._repr_html_()

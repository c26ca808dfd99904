import csv
import io
import subprocess
import sys
from xml.etree import ElementTree

import pytest

from ipcore.figures import FORMATS, Law, LawPanel, PictureError, PowerLaws, Size

PICTURE = PowerLaws(
    "size",
    (LawPanel("step 1", (Law("h¹", (Size(64, 1.0), Size(128, 0.5), Size(256, 0.25)), slope=-1.0),)),),
    1,
    "Mean |h| <of> digits",
    3,
)


@pytest.mark.parametrize("kind", FORMATS)
def test_saving_twice_gives_the_same_bytes(tmp_path, kind):
    one, other = PICTURE.save(tmp_path / f"one{kind}"), PICTURE.save(tmp_path / f"other{kind}")
    assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize(
    ("kind", "start"), [(".svg", b"<?xml"), (".png", b"\x89PNG"), (".pdf", b"%PDF"), (".csv", b"group,")]
)
def test_formats(kind, start):
    assert PICTURE.encoded(kind).startswith(start)


def test_files_carry_their_caption(tmp_path):
    root = ElementTree.fromstring(PICTURE.encoded(".svg"))
    assert PICTURE.caption in "".join(root.itertext())
    # A keyword of Latin-1 text in PNG; "−" and "✓" need international text, which is compressed or plain.
    assert b"Description" in PICTURE.encoded(".png")


def test_captions_say_what_and_by_how_many():
    assert PICTURE.caption.startswith("Mean |h| <of> digits; geometric means over 3 seeds.")


def test_csv_has_every_point():
    rows = list(csv.DictReader(io.StringIO(PICTURE.csv())))
    assert [(row["series"], float(row["width"]), float(row["value"])) for row in rows] == [
        ("h¹", 64, 1.0), ("h¹", 128, 0.5), ("h¹", 256, 0.25),
    ]  # fmt: skip
    assert rows[0]["low"] == ""


@pytest.mark.parametrize("name", ["picture.gif", "picture", "picture.svg.txt"])
def test_other_endings_are_refused(tmp_path, name):
    with pytest.raises(PictureError, match=r"must end in \.svg, \.png, \.pdf or \.csv"):
        PICTURE.save(tmp_path / name)


def test_in_a_notebook_the_picture_stands_above_its_escaped_caption():
    html = PICTURE._repr_html_()
    assert "data:image/png;base64," in html
    assert "&lt;of&gt;" in html
    assert "<of>" not in html


def test_data_need_no_matplotlib():
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "from tests.ipcore.figures.test_picture import PICTURE\n"
        "print(len(PICTURE.csv()))\n"
        "try: PICTURE.draw()\n"
        "except ImportError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pictures need matplotlib: pip install 'iplab[plot]'" in done.stdout, done.stderr


def test_nothing_to_draw():
    with pytest.raises(PictureError, match="no sizes"):
        PowerLaws("size", (LawPanel("", ()),), 1, "Nothing", 0).draw()

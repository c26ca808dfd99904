"""What a referee looks for, as a program: text too small, cut off or covered; colours lost in grey."""

from itertools import combinations

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.text import Text


def faults(picture):
    """Everything wrong with how a picture is laid out; [] is right."""
    return faults_of(picture.draw())


def faults_of(figure):
    """The same of a figure of matplotlib."""
    canvas = FigureCanvasAgg(figure)
    figure.draw_without_rendering()  # everything takes its place, no pixel is painted
    renderer = canvas.get_renderer()
    found = []
    if figure.get_figwidth() > 6.8:
        found.append(f"{figure.get_figwidth()} inches wide")
    texts = [t for t in figure.findobj(Text) if t.get_text().strip() and t.get_visible() and _shown(t)]
    boxes = [(t.get_text(), t.get_window_extent(renderer).padded(-1)) for t in texts]
    found += [f"{t.get_text()!r} has {t.get_fontsize()} points" for t in texts if t.get_fontsize() < 7]
    whole = figure.bbox
    for text, box in boxes:
        if box.x0 < whole.x0 or box.x1 > whole.x1 or box.y0 < whole.y0 or box.y1 > whole.y1:
            found.append(f"{text!r} is cut off")
    for (one, a), (other, b) in combinations(boxes, 2):
        if a.overlaps(b):
            found.append(f"{one!r} covers {other!r}")
    legends = [*figure.legends, *(one for part in figure.subfigs for one in part.legends)]
    for legend in [*legends, *(axes.legend_ for axes in figure.axes if axes.legend_)]:
        for axes in figure.axes:
            if legend.get_window_extent(renderer).overlaps(axes.get_window_extent(renderer)):
                found.append("a legend covers data")
    return found


def _shown(text):
    axes = text.axes
    if axes is None:
        return True
    ticks = [*axes.xaxis.get_majorticklabels(), *axes.yaxis.get_majorticklabels()]
    if text not in ticks:
        return axes.axison or text.get_clip_path() is None
    x, y = text.get_position()
    low, high = axes.get_xlim() if text in axes.xaxis.get_majorticklabels() else axes.get_ylim()
    return min(low, high) <= (x if text in axes.xaxis.get_majorticklabels() else y) <= max(low, high)


# Viénot, Brettel & Mollon (1999), on linear RGB: what readers without red or green cones see.
_BLIND = {
    "protan": ((0.11238, 0.88762, 0), (0.11238, 0.88762, 0), (0.00401, -0.00401, 1)),
    "deutan": ((0.29275, 0.70725, 0), (0.29275, 0.70725, 0), (-0.02234, 0.02234, 1)),
}


def lightness(colour):
    """CIE L* of a colour, 0 .. 100: what grey print keeps of it."""
    y = sum(w * _linear(c) for w, c in zip((0.2126, 0.7152, 0.0722), to_rgb(colour), strict=True))
    return 116 * y ** (1 / 3) - 16 if y > 0.008856 else 903.3 * y


def seen(colour, kind):
    """The colour as linear RGB as a colour-blind reader sees it."""
    linear = [_linear(c) for c in to_rgb(colour)]
    return tuple(sum(w * c for w, c in zip(row, linear, strict=True)) for row in _BLIND[kind])


def _linear(c):
    return c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4

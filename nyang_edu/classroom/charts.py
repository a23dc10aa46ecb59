"""Plots of a class as inline SVG: they need no library, no script and no network."""

from .pages import element, escape

WIDTH, LABEL, ROW = 760, 230, 26  # a chart's width, the room for labels, a bar's height


def stacked_bars(rows, total):
    """Horizontal bars: ``rows`` are (label, [(class, count)], words at the right)."""
    scale = (WIDTH - LABEL - 150) / max(total, 1)
    drawn = "".join(_bar(at, *row, scale, total) for at, row in enumerate(rows))
    return _chart(drawn, len(rows) * ROW + 4)


def small_bar(share):
    """One bar for a table's cell; ``share`` is between 0 and 1."""
    bar = element("rect", "", x="0", y="3", width=f"{max(100 * share, 1):.1f}", height="14",
                  class_="bad")
    return f'<svg width="100" height="20" aria-hidden="true">{bar}</svg>'


def _bar(at, label, parts, words, scale, total):
    top, x = at * ROW + 4, LABEL
    shapes = [_label(label, top)]
    shapes.append(_rect(LABEL, top, total * scale, "track"))
    for kind, count in parts:
        shapes.append(_rect(x, top, count * scale, kind, f"{label}: {count}"))
        x += count * scale
    shapes.append(element("text", escape(words), x=f"{LABEL + total * scale + 8:.1f}",
                          y=top + 14, class_="soft"))
    return "".join(shapes)


def _label(label, top):
    short = label if len(label) <= 30 else label[:29] + "…"
    return element("text", escape(short), x=LABEL - 8, y=top + 14, text_anchor="end")


def _rect(x, y, width, kind, title=None):
    inside = element("title", escape(title)) if title else ""
    return element("rect", inside, x=f"{x:.1f}", y=y, width=f"{max(width, 0):.1f}",
                   height=ROW - 8, class_=kind)


def histogram(counts, most):
    """Vertical bars over 0 … ``most``: how many got each number of points."""
    tallest, step = max(counts.values(), default=1), (WIDTH - 40) / (most + 1)
    shapes = []
    for value in range(most + 1):
        count, x = counts.get(value, 0), 20 + value * step
        height = 110 * count / tallest
        middle = f"{x + step / 2:.1f}"
        shapes.append(element("rect", element("title", f"{value}: {count}"), x=f"{x + 1:.1f}",
                              y=f"{130 - height:.1f}", width=f"{max(step - 2, 1):.1f}",
                              height=f"{height:.1f}", class_="good"))
        if count:
            shapes.append(_centred(count, middle, f"{124 - height:.1f}"))
        if value % max(1, (most + 1) // 12) == 0 or value == most:
            shapes.append(_centred(value, middle, 148))
    return _chart("".join(shapes), 156)


def _centred(text, x, y):
    return element("text", text, x=x, y=y, text_anchor="middle", class_="soft")


def _chart(shapes, height):
    return (f'<svg class="chart" role="img" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
            f'height="{height}">{shapes}</svg>')

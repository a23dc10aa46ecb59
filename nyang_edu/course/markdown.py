"""What is generated into a Markdown page: tables, and sections between two comments."""

from .files import CourseError


def table(head, rows, texts=1):
    """A table whose first columns hold texts, and whose other columns hold numbers."""
    lines = [head, [*["---"] * texts, *["--:"] * (len(head) - texts)], *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def replace_section(text, name, content):
    """Replace what stands between <!-- name --> and <!-- /name -->."""
    begin, end = f"<!-- {name} -->\n", f"\n<!-- /{name} -->"
    if begin not in text or end not in text:
        raise CourseError(f"README.md needs the lines {begin.strip()} and {end.strip()}.")
    before, rest = text.split(begin, 1)
    return before + begin + content + end + rest.split(end, 1)[1]


def section(text, name):
    """What stands between <!-- name --> and <!-- /name -->."""
    return text.split(f"<!-- {name} -->\n")[1].split(f"\n<!-- /{name} -->")[0]

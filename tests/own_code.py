"""Right answers that are visibly a student's own: other local names, and a comment."""

import ast

from nyang_edu.course.source import _REGION

MARK = "# mimi's own way"


def own_answer(exercise):
    """The reference's cell with every local variable renamed and each hole marked."""
    marked = _REGION.sub(lambda m: f"{m[1]}{MARK}\n{m[3].rstrip()}", exercise.cell.source)
    return with_own_names(marked)


def with_own_names(source):
    """Rename the local variables of all functions: ``dweight`` becomes ``my_dweight``."""
    lines = [line.encode() for line in source.split("\n")]  # columns count bytes
    spots = [spot for function in _outer_functions(ast.parse(source))
             for spot in _local_names(function)]
    for node in sorted(spots, key=lambda n: (n.lineno, n.col_offset), reverse=True):
        line = lines[node.lineno - 1]
        lines[node.lineno - 1] = line[:node.col_offset] + b"my_" + line[node.col_offset:]
    return b"\n".join(lines).decode()


def _outer_functions(tree):
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef):
            yield node
        elif isinstance(node, ast.ClassDef):
            yield from _outer_functions(node)


def _local_names(function):
    """The places of all names that the function assigns to and nothing else depends on."""
    nodes = list(ast.walk(function))
    names = [node for node in nodes if isinstance(node, ast.Name)]
    local = {node.id for node in names if isinstance(node.ctx, ast.Store)}
    fixed = {node.arg for node in nodes if isinstance(node, ast.arg)}
    for node in nodes:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.ExceptHandler)):
            fixed.add(node.name)
        if isinstance(node, (ast.Global, ast.Nonlocal)):
            fixed.update(node.names)
        if isinstance(node, (ast.JoinedStr, ast.ClassDef)):  # no true columns; attributes
            fixed.update(n.id for n in ast.walk(node) if isinstance(n, ast.Name))
    return [node for node in names if node.id in local - fixed]

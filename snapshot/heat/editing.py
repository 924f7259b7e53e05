"""Edits of a text with LibCST, which keeps every byte of what is not edited."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple, TypeVar

import libcst as cst
from libcst.metadata import CodeRange, MetadataWrapper, PositionProvider

_Listed = TypeVar("_Listed", cst.List, cst.Tuple)
_Block = TypeVar("_Block", cst.Module, cst.IndentedBlock)


class Edits(NamedTuple):
    """What to do in a text, by the numbers of its lines.

    functions: the names of those to remove, by the lines of their `def`. imports, exports: pairs of
    a line and a name: to remove from the import there, or the entry of `__all__`. notes: comments
    to put above the statements that have these lines.
    """

    functions: Mapping[int, str]
    imports: AbstractSet[tuple[int, str]]
    exports: AbstractSet[tuple[int, str]]
    notes: Mapping[int, Sequence[str]]


def edited(text: str, edits: Edits) -> str:
    """The text after these edits. Raises ValueError where LibCST cannot read it."""
    try:
        module = cst.parse_module(text)
    except cst.ParserSyntaxError as error:
        raise ValueError(f"LibCST cannot read it: {error.message}") from None
    if module.code != text:
        raise ValueError("LibCST would give it back otherwise than it was")
    wrapper = MetadataWrapper(module, unsafe_skip_copy=True)
    positions = wrapper.resolve(PositionProvider)
    changed = wrapper.module.visit(_Editor(edits, positions))
    if not (changed.header or changed.body or changed.footer):
        return ""
    last = text[text.rfind("\n") + 1 :]
    # What is last now was followed by more, and has the end of its line.
    ended = not last or changed.code.endswith(last)
    return changed.code if ended else changed.with_changes(has_trailing_newline=True).code


class _Editor(cst.CSTTransformer):
    def __init__(self, edits: Edits, positions: Mapping[cst.CSTNode, Any]) -> None:
        super().__init__()
        self._edits = edits
        self._positions = positions
        self._gone: set[cst.CSTNode] = set()
        self._notes = _places(edits.notes, positions)

    def _line(self, node: cst.CSTNode) -> int:
        found: CodeRange = self._positions[node]
        return found.start.line

    def on_leave(self, original_node: Any, updated_node: Any) -> Any:
        """Put the comments above the node that they are meant for."""
        updated = super().on_leave(original_node, updated_node)
        if (notes := self._notes.get(original_node)) and isinstance(updated, cst.CSTNode):
            lines = [cst.EmptyLine(comment=cst.Comment(each)) for each in notes]
            return updated.with_changes(leading_lines=[*_leading(updated), *lines])
        return updated

    def leave_FunctionDef(
        self, original_node: cst.FunctionDef, updated_node: cst.FunctionDef
    ) -> cst.FunctionDef:
        if self._edits.functions.get(self._line(original_node)) == original_node.name.value:
            self._gone.add(original_node)
        return updated_node

    def leave_ImportFrom(
        self, original_node: cst.ImportFrom, updated_node: cst.ImportFrom
    ) -> cst.ImportFrom:
        line = self._line(original_node)
        names = updated_node.names
        if isinstance(names, cst.ImportStar):
            return updated_node
        left = [each for each in names if (line, _name(each)) not in self._edits.imports]
        if not left:
            self._gone.add(original_node)
        elif len(left) < len(names):
            return updated_node.with_changes(names=_closed(left, names, updated_node.rpar))
        return updated_node

    def leave_List(self, original_node: cst.List, updated_node: cst.List) -> cst.List:
        return self._without_exports(original_node, updated_node)

    def leave_Tuple(self, original_node: cst.Tuple, updated_node: cst.Tuple) -> cst.Tuple:
        return self._without_exports(original_node, updated_node)

    def _without_exports(self, original: _Listed, updated: _Listed) -> _Listed:
        left = [
            new
            for old, new in zip(original.elements, updated.elements, strict=True)
            if not self._is_export(old.value)
        ]
        if len(left) == len(updated.elements):
            return updated
        if isinstance(updated, cst.Tuple) and len(left) == 1:
            comma = left[0].comma
            kept = comma if isinstance(comma, cst.Comma) else cst.Comma()
            return updated.with_changes(elements=[left[0].with_changes(comma=kept)])
        return updated.with_changes(elements=_closed(left, updated.elements, True))

    def _is_export(self, value: cst.BaseExpression) -> bool:
        if not self._edits.exports or not isinstance(value, cst.SimpleString):
            return False
        return (self._line(value), value.evaluated_value) in self._edits.exports

    def leave_Expr(self, original_node: cst.Expr, updated_node: cst.Expr) -> cst.Expr:
        match original_node.value:  # __all__.append("f")
            case cst.Call(args=[cst.Arg(value=only)]) if self._is_export(only):
                self._gone.add(original_node)
        return updated_node

    def leave_SimpleStatementLine(
        self,
        original_node: cst.SimpleStatementLine,
        updated_node: cst.SimpleStatementLine,
    ) -> cst.SimpleStatementLine:
        left = self._left(original_node, updated_node)
        if not left:
            self._gone.add(original_node)
            return updated_node
        return updated_node.with_changes(body=left)

    def leave_SimpleStatementSuite(
        self,
        original_node: cst.SimpleStatementSuite,
        updated_node: cst.SimpleStatementSuite,
    ) -> cst.SimpleStatementSuite:
        left = self._left(original_node, updated_node)
        return updated_node.with_changes(body=left or [cst.Pass()])

    def _left(self, original: Any, updated: Any) -> list[cst.BaseSmallStatement]:
        pairs = zip(original.body, updated.body, strict=True)
        left = [new for old, new in pairs if old not in self._gone]
        if left and len(left) < len(original.body):
            left[-1] = left[-1].with_changes(semicolon=cst.MaybeSentinel.DEFAULT)
        return left

    def leave_IndentedBlock(
        self, original_node: cst.IndentedBlock, updated_node: cst.IndentedBlock
    ) -> cst.IndentedBlock:
        return self._without(original_node, updated_node)

    def leave_Module(self, original_node: cst.Module, updated_node: cst.Module) -> cst.Module:
        return self._without(original_node, updated_node)

    def _without(self, original: _Block, updated: _Block) -> _Block:
        """A block without what is gone; comments that are not its own stay."""
        if not any(each in self._gone for each in original.body):
            return updated
        body: list[Any] = []
        kept: list[cst.EmptyLine] = []
        for old, new in zip(original.body, updated.body, strict=True):
            if old in self._gone:
                kept += _others(old)
                continue
            lines: list[cst.EmptyLine] = _leading(new)
            if not body and isinstance(original, cst.IndentedBlock) and old is not original.body[0]:
                lines = _without_blank(lines)
            body.append(new.with_changes(leading_lines=[*kept, *lines]))
            kept = []
        if not body and isinstance(original, cst.IndentedBlock):
            body, kept = [cst.SimpleStatementLine([cst.Pass()], leading_lines=kept)], []
        changed = updated.with_changes(body=body, footer=[*kept, *updated.footer])
        if isinstance(original, cst.Module) and original.body[0] in self._gone:
            return changed.with_changes(header=_header(original.body[0], updated.header))
        return changed


def _places(
    notes: Mapping[int, Sequence[str]], positions: Mapping[cst.CSTNode, Any]
) -> dict[cst.CSTNode, list[str]]:
    """The innermost nodes that can have comments above them, of the ones that have the lines."""
    found: dict[cst.CSTNode, list[str]] = {}
    if not notes:
        return found
    nodes = [
        (each, where.start.line, where.end.line)
        for each, where in positions.items()
        if hasattr(each, "leading_lines") and not isinstance(each, cst.Else | cst.Finally)
    ]
    for line, comments in sorted(notes.items()):
        around = [each for each in nodes if each[1] <= line <= each[2]]
        if around:
            node = max(around, key=lambda each: (each[1], -each[2]))[0]
            there = found.setdefault(node, [])
            there.extend(each for each in comments if each not in there)
    return found


def _leading(node: Any) -> list[cst.EmptyLine]:
    return [*node.leading_lines]


def _others(node: Any) -> list[cst.EmptyLine]:
    """The comments above a statement that are not its own: a blank line is between."""
    lines = _leading(node)
    if not isinstance(node, cst.FunctionDef):
        return lines if any(each.comment for each in lines) else []
    return _without_own(lines)


def _header(first: Any, lines: Sequence[cst.EmptyLine]) -> Sequence[cst.EmptyLine]:
    """What stands above the first statement of a file, which goes; where no blank line is between,
    all of it is the file's own."""
    if not isinstance(first, cst.FunctionDef):
        return lines
    return _without_own([*lines]) or lines


def _without_own(lines: list[cst.EmptyLine]) -> list[cst.EmptyLine]:
    while lines and lines[-1].comment:
        lines.pop()
    while lines and not lines[-1].comment:
        lines.pop()
    return lines


def _without_blank(lines: list[cst.EmptyLine]) -> list[cst.EmptyLine]:
    while lines and not lines[0].comment:
        lines = lines[1:]
    return lines


def _name(alias: cst.ImportAlias) -> str:
    return alias.evaluated_name


def _closed(left: list[Any], before: Sequence[Any], brackets: object) -> list[Any]:
    """Elements of which the last one has what stood after the last one before."""
    if left and left[-1] is not before[-1]:
        left = [*left[:-1], left[-1].with_changes(comma=before[-1].comma)]
    return left

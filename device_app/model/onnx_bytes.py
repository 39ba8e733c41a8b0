"""As much of ONNX's protocol buffers as the device needs: read the metadata, and leave out what nobody asks for.

onnxruntime computes every node of a graph, whichever outputs are fetched. So a device that wants some of the heads cuts
the others out of the graph before it is loaded. Field numbers are those of ``onnx.proto``.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

_GRAPH, _METADATA = 7, 14
"""Fields of ModelProto."""
_NODE, _INITIALIZER, _OUTPUT = 1, 5, 12
"""Fields of GraphProto; a node's inputs are its field 1, its outputs its field 2."""
_TENSOR_NAME = 8
_LENGTH_DELIMITED = 2


class EncodingError(ValueError):
    """Bytes that are no protocol buffer, or half of one."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message."""

    number: int
    content: memoryview
    """What a length-delimited field holds; empty for numbers."""
    raw: memoryview
    """All of the field."""


def read_fields(message: memoryview) -> Iterator[Field]:
    """The fields of a message, in order.

    Raises:
        EncodingError: If the message breaks off or is none.
    """
    position = 0
    while position < len(message):
        start = position
        tag, position = _varint(message, position)
        kind, content = tag & 7, position
        if kind == 0:
            _, position = _varint(message, position)
            content = position
        elif kind == _LENGTH_DELIMITED:
            size, content = _varint(message, position)
            position = content + size
        elif kind in (1, 5):
            position = content = position + (8 if kind == 1 else 4)
        else:
            raise EncodingError(f"field of kind {kind} at byte {start}")
        if position > len(message) or not tag >> 3:
            raise EncodingError(f"field {tag >> 3} at byte {start} breaks off")
        yield Field(tag >> 3, message[content:position], message[start:position])


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    """A number in groups of 7 bits, lowest first, and the position behind it."""
    value = shift = 0
    while True:
        if position >= len(message) or shift > 63:
            raise EncodingError(f"number at byte {position} breaks off")
        byte = message[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return value, position


def write_field(number: int, content: bytes) -> bytes:
    """A length-delimited field with a number below 16: tag, length, content."""
    length, size = b"", len(content)
    while size > 0x7F:
        length += bytes([size & 0x7F | 0x80])
        size >>= 7
    return bytes([number << 3 | _LENGTH_DELIMITED]) + length + bytes([size]) + content


def read_metadata(model: bytes) -> dict[str, str]:
    """The ``metadata_props`` of a serialised model.

    Raises:
        EncodingError: If it is no model, or half of one.
    """
    entries: dict[str, str] = {}
    has_graph = False
    for field in read_fields(memoryview(model)):
        has_graph = has_graph or field.number == _GRAPH
        if field.number == _METADATA:
            entry = {part.number: bytes(part.content).decode() for part in read_fields(field.content)}
            entries[entry.get(1, "")] = entry.get(2, "")
    if not has_graph:
        raise EncodingError("no graph")
    return entries


def write_metadata(entries: dict[str, str]) -> bytes:
    """``metadata_props`` to append to a serialised model, sorted by name."""
    return b"".join(
        write_field(_METADATA, write_field(1, name.encode()) + write_field(2, entries[name].encode()))
        for name in sorted(entries)
    )


def keep_outputs(model: bytes, outputs: Collection[str]) -> bytes:
    """Leave out the outputs that are not named, and the nodes and weights that only they need.

    Args:
        model: Serialised, its nodes in order of execution (as ONNX demands).
        outputs: Names of outputs.

    Raises:
        EncodingError: If it is no model, or half of one.
    """
    parts = [
        write_field(_GRAPH, _keep(field.content, outputs)) if field.number == _GRAPH else bytes(field.raw)
        for field in read_fields(memoryview(model))
    ]
    return b"".join(parts)


def _keep(graph: memoryview, outputs: Collection[str]) -> bytes:
    fields = list(read_fields(graph))
    needed = set(outputs)
    kept: list[Field] = []
    for field in reversed(fields):  # behind a node come those that need it; a writer may put the weights anywhere
        if field.number == _NODE:
            names: dict[int, list[str]] = {1: [], 2: []}
            for part in read_fields(field.content):
                if part.number in names:
                    names[part.number].append(bytes(part.content).decode())
            if needed.isdisjoint(names[2]):
                continue
            needed.update(names[1])
        elif field.number == _OUTPUT and _name(field.content, 1) not in outputs:
            continue
        kept.append(field)
    kept = [field for field in kept if field.number != _INITIALIZER or _name(field.content, _TENSOR_NAME) in needed]
    return b"".join(field.raw for field in reversed(kept))


def _name(message: memoryview, number: int) -> str:
    return next((bytes(field.content).decode() for field in read_fields(message) if field.number == number), "")

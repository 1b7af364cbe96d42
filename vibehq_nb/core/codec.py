"""
Frame ↔ message, strictly, in one place.

Below a decoder nobody sees a ``dict`` in place of a message. Refused as
``bad-message``: text that is no JSON object, duplicate keys, numbers that are not
finite or not exact, lone surrogates, nesting over 16, wrong or missing fields.
"""

import json
from collections.abc import Iterable
from functools import reduce
from math import isfinite
from operator import or_
from typing import Any

import msgspec

from vibehq_nb.core.errors import DecodeError
from vibehq_nb.core.messages import Message

MAX_DEPTH = 16
MAX_INTEGER = 2**53 - 1

_encoder = msgspec.json.Encoder()


def encode(message: Message) -> bytes:
    """Return *message* as the UTF-8 text of one frame."""
    return _encoder.encode(message)


def encode_canonical(value: Any) -> bytes:
    """
    Return *value* as canonical JSON: sorted keys, no spaces, UTF-8, no floats' doubts.

    The bytes a digest is taken of. Source: RFC 8785 for objects of strings, integers,
    booleans, null, arrays and objects; other numbers are written as Python's ``repr``.

    Raises:
        DecodeError: If the value has no exact JSON form.
    """
    try:
        check_plain(value)
        text = json.dumps(
            value,
            sort_keys=True,
            separators=(",", ":"),
            ensure_ascii=False,
            allow_nan=False,
        )
        return text.encode()
    except (TypeError, ValueError, RecursionError):
        raise DecodeError("the value has no exact JSON form") from None


def check_plain(value: Any, depth: int = 1) -> None:
    """
    Refuse what JSON cannot carry unchanged.

    Raises:
        DecodeError: On nesting over 16, a key that is no string, a lone surrogate,
            an integer beyond 2**53 - 1 or a number that is not finite.
    """
    if depth > MAX_DEPTH:
        raise DecodeError(f"the message nests deeper than {MAX_DEPTH}")
    match value:
        case list() | tuple():
            for item in value:
                check_plain(item, depth + 1)
        case dict():
            for key, item in value.items():
                _check_text(key)
                check_plain(item, depth + 1)
        case str():
            _check_text(value)
        case _:
            _check_scalar(value)


def _check_scalar(value: Any) -> None:
    if value is None or isinstance(value, bool):
        return
    if isinstance(value, int) and abs(value) > MAX_INTEGER:
        raise DecodeError("an integer is beyond 2**53 - 1")
    if isinstance(value, float) and not isfinite(value):
        raise DecodeError("a number is not finite")
    if not isinstance(value, int | float):
        raise DecodeError("the value has no exact JSON form")


def _check_text(text: Any) -> None:
    if not isinstance(text, str):
        raise DecodeError("an object has a key that is no text")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise DecodeError("a text holds half a character (lone surrogate)") from None


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise DecodeError("an object names a key twice")
    return found


def _refuse_constant(_text: str) -> Any:
    raise DecodeError("a number is not finite")


def decode_plain(frame: str | bytes) -> Any:
    """
    Return the JSON value of *frame*, strictly.

    Raises:
        DecodeError: On anything that is not exact JSON within the bounds.
    """
    text = frame if isinstance(frame, str) else _decode_utf8(frame)
    try:
        value = json.loads(
            text,
            object_pairs_hook=_without_duplicates,
            parse_constant=_refuse_constant,
        )
    except (ValueError, RecursionError):
        raise DecodeError("the frame is not JSON") from None
    check_plain(value)
    return value


def _decode_utf8(frame: bytes) -> str:
    try:
        return frame.decode()
    except UnicodeDecodeError:
        raise DecodeError("the frame is not UTF-8") from None


def convert(value: Any, kind: Any) -> Any:
    """
    Return a plain value as *kind*, a struct or a union of structs.

    Raises:
        DecodeError: Naming the field that is wrong and what it should be, never its
            content.
    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise DecodeError(_without_content(str(error))) from None


def _without_content(text: str) -> str:
    place = text.rfind(" - at `$")
    where = text[place:] if place >= 0 else ""
    if text.startswith("Object contains unknown field"):
        return f"there is an unknown field{where}"
    if text.startswith("Invalid enum value"):
        return f"the value is none of those that are possible{where}"
    return text


class Decoder:
    """Decodes text frames into a fixed set of message types."""

    def __init__(self, kinds: Iterable[type[Message]]) -> None:
        """Accept exactly *kinds*."""
        kinds = tuple(kinds)
        self._types = frozenset(str(kind.__struct_config__.tag) for kind in kinds)
        self._union: Any = reduce(or_, kinds) if kinds else None

    def decode(self, frame: str | bytes) -> Message:
        """
        Return the message in *frame*.

        Raises:
            DecodeError: ``bad-message`` naming what is wrong, or ``unknown-type``.
        """
        value = decode_plain(frame)
        if not isinstance(value, dict):
            raise DecodeError("the message is not a JSON object")
        kind = value.get("type")
        if not isinstance(kind, str):
            raise DecodeError("the message has no type")
        if kind not in self._types:
            raise DecodeError("this room knows no message of that type", "unknown-type")
        message: Message = convert(value, self._union)
        return message

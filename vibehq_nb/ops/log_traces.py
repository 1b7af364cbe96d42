"""
Which failure a stack trace shows: its exception and the frame of our own code.

Pure. Python, Java and Node. What varies from one occurrence to the next is left out:
line numbers, addresses, generated names, directories, and the message.
"""

import re
from typing import NamedTuple

_PYTHON_HEAD = "Traceback (most recent call last)"
_PYTHON_FRAME = re.compile(r'^\s+(?:\| )?File "([^"\n]+)", line \d+, in (.+)$')
_PYTHON_END = re.compile(r"^([A-Za-z_][\w.]*)(?::|$)")
_JAVA_HEAD = re.compile(
    r"^(?:Caused by: |Exception in thread \"[^\"]*\" )?"
    r"((?:[a-zA-Z_][\w$]*\.)+[A-Z][\w$]*)(?::|$)"
)
_JAVA_FRAME = re.compile(r"^\s+at (?:[\w.-]+(?:@[\w.-]+)?/{1,2})*([\w.$<>]+)\([^():]*")
_NODE_HEAD = re.compile(
    r"(?:^|[\s:])((?:[A-Z]\w*)?(?:Error|Exception))(?: \[\w+\])?(?::|$)"
)
_NODE_FRAME = re.compile(r"^\s+at (?:async )?(?:([^()\n]+?) \()?([^()\n]+):\d+:\d+\)?$")
_LIBRARIES = (
    *("/site-packages/", "/dist-packages/", "/lib/python", "<frozen "),
    *("node:", "/node_modules/", "internal/"),
)
_JAVA_LIBRARIES = ("java.", "javax.", "jdk.", "sun.", "com.sun.", "jakarta.")
_VARYING = re.compile(
    r"0x[0-9a-fA-F]+|\$\$\w+|\b[0-9a-f]{8,}\b|(?<=\$)\d+|(?<=Accessor)\d+|\d{3,}"
)
_MAX_PART = 120
_MAX_LINE = 500
"""Characters; keeps hostile lines cheap."""


class Trace(NamedTuple):
    """One stack trace, without what varies."""

    exception: str
    frame: str
    """The innermost frame outside libraries: ``file:function`` or ``class.method``."""

    @property
    def key(self) -> str:
        """The same for every occurrence of the same failure."""
        return f"{self.exception}|{self.frame}"


def trace_of(text: str) -> Trace | None:
    """Return the failure that *text* shows; of chained ones the root cause's."""
    if _PYTHON_HEAD in text:
        return _python(text)
    if "\tat " not in text and "  at " not in text:
        return None
    lines = [line[:_MAX_LINE] for line in text.splitlines()]
    return _node(lines) or _java(lines)


def _python(text: str) -> Trace | None:
    frames: list[tuple[bool, str]] = []
    for line in text[text.rindex(_PYTHON_HEAD) :].splitlines()[1:]:
        frame = _PYTHON_FRAME.match(line)
        if frame:
            frames.append((_is_library(frame[1]), f"{_base(frame[1])}:{frame[2]}"))
        elif line.strip() and not line.startswith((" ", "\t")):
            end = _PYTHON_END.match(line)
            return _trace(end[1], frames[::-1]) if end else None
    return None


def _java(lines: list[str]) -> Trace | None:
    exception = ""
    frames: list[tuple[bool, str]] = []
    for line in lines:
        head = _JAVA_HEAD.match(line) or _java_inside(line)
        if head:
            exception, frames = head[1], []
        elif exception and (frame := _JAVA_FRAME.match(line)):
            frames.append((frame[1].startswith(_JAVA_LIBRARIES), frame[1]))
    return _trace(exception, frames) if exception and frames else None


_JAVA_INSIDE = re.compile(r"\b((?:[a-z_][\w$]*\.)+[A-Z][\w$]*(?:Exception|Error))\b")


def _java_inside(line: str) -> re.Match[str] | None:
    """Match an exception that a logger wrote behind its own prefix."""
    return None if line.startswith((" ", "\t")) else _JAVA_INSIDE.search(line)


def _node(lines: list[str]) -> Trace | None:
    exception = ""
    frames: list[tuple[bool, str]] = []
    for line in lines:
        frame = _NODE_FRAME.match(line)
        if frame:
            name = f"{_base(frame[2])}:{frame[1] or '<anonymous>'}"
            frames.append((_is_library(frame[2]), name))
        elif not frames and (head := _NODE_HEAD.search(line)):
            exception = head[1]
    return _trace(exception, frames) if exception and frames else None


def _trace(exception: str, frames: list[tuple[bool, str]]) -> Trace:
    """Pick the first frame of our own code; *frames* begin with the innermost."""
    own = [name for is_library, name in frames if not is_library]
    frame = (own or [name for _, name in frames] or [""])[0]
    return Trace(_stable(exception), _stable(frame))


def _is_library(path: str) -> bool:
    return any(part in path for part in _LIBRARIES)


def _base(path: str) -> str:
    return path.replace("\\", "/").rsplit("/", 1)[-1]


def _stable(name: str) -> str:
    return _VARYING.sub("#", name.strip())[:_MAX_PART]

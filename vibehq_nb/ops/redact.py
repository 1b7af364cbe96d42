"""
Make a sample safe to show: no secrets, no control characters, bounded.

Pure. Redaction comes before shortening, so no half of a secret survives. Every
pattern is linear in the length of its input.
"""

import re

from vibehq_nb.core.findings import MAX_SAMPLE

MASK = "[redacted]"
MAX_INPUT = 32_768
"""Characters that are looked at; the rest is cut before."""

_SECRET_WORD = (
    r"(?:pass(?:word|wd|phrase)?|pwd|secret|token|api[_-]?key|access[_-]?key"
    r"|private[_-]?key|credentials?|authorization|cookie|session[_-]?(?:id|key))"
)
_WHOLE = re.compile(
    r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,40}KEY-----|\Z)"
    r"|\b(?:AKIA|ASIA|AGPA|AIDA|AROA)[A-Z0-9]{16}\b"
    r"|\bgh[pousr]_[A-Za-z0-9]{20,}"
    r"|\bgithub_pat_\w{20,}"
    r"|\bglpat-[\w-]{16,}"
    r"|\bxox[abeoprs]-[\w-]{8,}"
    r"|\b[sr]k[-_](?:live[-_]|test[-_]|proj-|ant-)?[A-Za-z0-9_-]{16,}"
    r"|\bAIza[\w-]{30,}"
    r"|\beyJ[\w-]{8,}\.[\w-]{4,}(?:\.[\w-]*)?",
    re.DOTALL,
)
_AFTER_SCHEME = re.compile(r"\b(bearer|basic|digest|negotiate)(\s+)[^\s\"',;]+", re.I)
_COOKIES = re.compile(r"(\bcookie[\"']?\s{0,4}[:=]\s{0,4})[^\n]+", re.IGNORECASE)
_IN_URL = re.compile(r"(\w{2,20}://[^\s/:@\"']{0,100}:)[^\s/@\"']{1,200}@")
_AFTER_NAME = re.compile(
    rf"({_SECRET_WORD}[\w.-]{{0,40}}[\"']?\s{{0,4}}(?:=>|[=:])\s{{0,4}})"
    r"(\"[^\"\n]*\"?|'[^'\n]*'?|[^\s,;&\"'}\])]+)",
    re.IGNORECASE,
)
_AFTER_OPTION = re.compile(
    rf"(--?[\w-]{{0,20}}{_SECRET_WORD}[\w-]{{0,20}}\s{{1,4}})(\"[^\"\n]*\"?|[^\s-]\S*)",
    re.IGNORECASE,
)
# CSI, OSC and other escape sequences, then whatever control character is left;
# bidirectional overrides can make a line read as another.
_CONTROL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b."
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]"
)


def redact(text: str) -> str:
    """Return *text* without what looks like a secret or a control character."""
    text = _CONTROL.sub("", text[:MAX_INPUT])
    text = _WHOLE.sub(MASK, text)
    text = _IN_URL.sub(rf"\g<1>{MASK}@", text)
    text = _COOKIES.sub(rf"\1{MASK}", text)
    text = _AFTER_SCHEME.sub(rf"\1\2{MASK}", text)
    text = _AFTER_OPTION.sub(rf"\1{MASK}", text)
    return _AFTER_NAME.sub(_mask_value, text)


def _mask_value(match: re.Match[str]) -> str:
    # A scheme word was left standing before its masked credential.
    if match[2].lower() in {"bearer", "basic", "digest", "negotiate"}:
        return match[0]
    quote = match[2][0] if match[2][0] in "\"'" else ""
    return f"{match[1]}{quote}{MASK}{quote}"


def sample(text: str) -> str:
    """Return *text* redacted and shortened to what evidence may hold."""
    safe = redact(text).strip()
    return safe if len(safe) <= MAX_SAMPLE else f"{safe[: MAX_SAMPLE - 1]}…"

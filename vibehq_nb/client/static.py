"""A terminal's screen as it was, in a form that a saved notebook keeps."""

import html
from dataclasses import dataclass
from typing import Any

STYLE = "border:1px solid #8884;border-radius:4px;padding:8px;overflow:auto"


@dataclass(frozen=True, slots=True)
class StaticScreen:
    """
    The screen of a terminal at one moment; holds no link and no credential.

    Attributes:
        label: The terminal, as people call it.
        text: The screen, without trailing blanks.
        markup: The same in colour, as HTML made here; empty for none.
    """

    label: str
    text: str
    markup: str = ""

    def __repr__(self) -> str:
        """Return the screen as text."""
        return self.text

    def _repr_html_(self) -> str:
        plain = f'<pre style="font-family: monospace">{html.escape(self.text)}</pre>'
        return screen_html(self.markup or plain)

    def _repr_mimebundle_(self, **_options: Any) -> dict[str, str]:
        return {"text/html": self._repr_html_(), "text/plain": self.text}


def screen_html(inner: str) -> str:
    """Return *inner*, which is safe HTML, as a terminal's still picture."""
    return f'<div class="vhq-snapshot" style="{STYLE}">{inner}</div><!--end-->'

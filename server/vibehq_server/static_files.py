"""The front end's files: an explicit list made once, never a walk by request."""

import hashlib
import mimetypes
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import ClassVar

from vibehq_server.handlers import VibeHandler
from vibehq_server.refusals import Refusal

SUFFIXES = frozenset({".js", ".css", ".map", ".svg", ".woff2"})
YEAR = 365 * 86400


@dataclass(frozen=True, slots=True)
class StaticFile:
    """One file that everybody may read."""

    path: Path
    media_type: str


def static_folder() -> Path:
    """Return where the built front end lies."""
    return Path(str(resources.files("vibehq_nb"))) / "static"


def assets_folder() -> Path:
    """Return where the server's own page files lie."""
    return Path(__file__).parent / "assets"


def list_static_files(*folders: Path) -> dict[str, StaticFile]:
    """Return the regular files directly in *folders*, by name; first folder wins."""
    found: dict[str, StaticFile] = {}
    for folder in folders:
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            is_ours = path.suffix in SUFFIXES and not path.is_symlink()
            if is_ours and path.is_file() and path.name not in found:
                media_type = mimetypes.guess_type(path.name)[0]
                found[path.name] = StaticFile(path, media_type or "text/plain")
    return found


def hash_of(file: StaticFile | None) -> str:
    """Return a short hash of a file's content for its URL; nothing for no file."""
    if file is None:
        return ""
    try:
        return hashlib.sha256(file.path.read_bytes()).hexdigest()[:12]
    except OSError:
        return ""


class StaticHandler(VibeHandler):
    """``GET /static/{name}``: one file of the list."""

    public: ClassVar[bool] = True

    def initialize(self, files: dict[str, StaticFile]) -> None:
        """Serve exactly *files*."""
        self._files = files

    def get(self, name: str) -> None:
        """Answer with the file; what is not on the list does not exist."""
        file = self._files.get(name)
        if file is None:
            raise Refusal(404, "not-found", "There is no such file.")
        try:
            content = file.path.read_bytes()
        except OSError:
            raise Refusal(404, "not-found", "There is no such file.") from None
        is_text = file.media_type.startswith("text/") or name.endswith((".js", ".map"))
        charset = "; charset=utf-8" if is_text else ""
        self.set_header("Content-Type", f"{file.media_type}{charset}")
        is_versioned = bool(self.get_query_argument("v", ""))
        kept = f"public, max-age={YEAR}, immutable" if is_versioned else "no-cache"
        self.set_header("Cache-Control", kept)
        self.finish(content)

    def head(self, name: str) -> None:
        """Answer as ``get`` does; Tornado leaves the body out."""
        self.get(name)

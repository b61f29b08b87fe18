"""The address at which visitors reach a demo through a proxy."""

import dataclasses
import re
from urllib.parse import unquote, urlsplit

_FORM = re.compile(
    r"https?://(?:\[[0-9a-fA-F:.]+\]|[\w.-]+)(?::\d{1,5})?(?:/[\w.~%@+-]+)*/?", re.ASCII
)
_PORTS = {"http": ":80", "https": ":443"}


@dataclasses.dataclass(frozen=True)
class PublicUrl:
    """The parts of a public address.

    Attributes:
        origin: scheme, host and perhaps port, as browsers send it.
        host: name of the host alone.
        path: of the folder, "" or "/a/b".
    """

    origin: str
    host: str
    path: str

    @classmethod
    def parse(cls, url):
        """Reads `https://HOST[:PORT][/PATH]`.

        Raises:
            ValueError: another form.
        """
        if not _FORM.fullmatch(url):
            raise ValueError(
                "--public_url must be the address in visitors' browsers, such as "
                f"https://demo.example.org or https://example.org/demo. Received: {url}"
            )
        parts = urlsplit(url)
        host = parts.netloc.lower().removesuffix(_PORTS[parts.scheme])
        return cls(f"{parts.scheme}://{host}", parts.hostname, parts.path.rstrip("/"))

    def __str__(self):
        return f"{self.origin}{self.path}/"

    def is_folder(self, path):
        """Whether a path is that of the folder without the slash, which relative addresses need."""
        return path == unquote(self.path) != ""

    def inside(self, path):
        """The path within the demo of a request's path; proxies may cut the folder off or not."""
        folder = unquote(self.path)
        return path[len(folder) :] if path.startswith(f"{folder}/") else path

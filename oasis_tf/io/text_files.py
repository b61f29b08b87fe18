"""Reads text files that users give: UTF-8, whatever editor or system wrote them."""

import codecs

_OTHER_ENCODINGS = {  # marks at the start of a file; UTF-32 first, its mark begins as UTF-16's
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


def read_text(path):
    r"""Reads a text file in UTF-8.

    Args:
        path: str or path object.

    Returns:
        str without a byte order mark (Notepad writes one); every end of a line is "\n".

    Raises:
        ValueError: the file is not UTF-8, or no text. The error names the file, says what was
            found, and what to do.
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        contents = file.read()
    text = decode(contents, path)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def decode(contents, name):
    """Decodes bytes in UTF-8, without a byte order mark.

    Args:
        contents: bytes.
        name: where they come from, for the error.

    Raises:
        ValueError: they are not UTF-8, or no text; see `read_text`.
    """
    check_mark(contents, name)
    try:
        text = contents.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        byte, line = contents[error.start], contents.count(b"\n", 0, error.start) + 1
        raise ValueError(
            _refusal(
                name,
                f"byte 0x{byte:02x} in line {line}, which is not UTF-8 (perhaps Windows-1252 or "
                "Latin-1, which older editors write)",
            )
        ) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise ValueError(
            _refusal(name, f"a NUL byte in line {line} (UTF-16, a binary file or a damaged one)")
        )
    return text


def check_mark(contents, name):
    """Raises ValueError if bytes begin with the mark of another encoding than UTF-8."""
    for mark, encoding in _OTHER_ENCODINGS.items():
        if contents.startswith(mark):
            raise ValueError(_refusal(name, f"{encoding}, as its first bytes say"))


def _refusal(name, received):
    return (
        f"{name} must be text in UTF-8. Received: {received}. Save the file as UTF-8 (most editors "
        "offer it under Save as; in PowerShell: Set-Content -Encoding utf8)."
    )

"""Lists the commands and the systems: `python -m oasis_tf`."""

import ast
from pathlib import Path

from oasis_tf import systems


def _commands() -> dict[str, str]:
    """Returns the first line of every command's docstring, by name of the command."""
    found = {}
    for path in sorted(Path(__file__).parent.glob("*.py")):
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        if text.startswith("Command: "):
            found[path.stem] = text.splitlines()[0].removeprefix("Command: ")
    return found


def main() -> None:
    """Prints both lists."""
    print("Commands, python -m oasis_tf.COMMAND --help:")
    for name, line in _commands().items():
        print(f"  {name:<22}{line}")
    print("Systems, --system=NAME:")
    for name in systems.NAMES:
        print(f"  {name:<22}{systems.get(name).title}")


if __name__ == "__main__":
    main()

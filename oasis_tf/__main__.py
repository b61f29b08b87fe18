"""All commands by name: `oasis-tf COMMAND …`, or `python -m oasis_tf COMMAND …`.

A command is a module whose documentation begins with "Command: "; its name is that of the module
with dashes: `oasis-tf export-savedmodel` is `python -m export.savedmodel`. Without a command, lists
them and the systems.
"""

import ast
import difflib
import importlib.util
import re
import runpy
import sys
from pathlib import Path

import oasis_tf
from oasis_tf import systems

_PACKAGES = ("oasis_tf", "export")  # where commands lie


def commands() -> dict[str, tuple[str, str]]:
    """Returns module and one line of every command, by its name, in the order of the packages."""
    found = {}
    for package in _PACKAGES:
        spec = importlib.util.find_spec(package)
        for root in map(Path, spec.submodule_search_locations or () if spec else ()):
            # Those of a system are reached through the commands of the package.
            for path in [*sorted(root.glob("*.py")), *sorted(root.glob("serving/*.py"))]:
                text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
                if text.startswith("Command: "):
                    module = ".".join((package, *path.relative_to(root).with_suffix("").parts))
                    line = text.splitlines()[0].removeprefix("Command: ")
                    found[_name(module.removeprefix("oasis_tf."))] = (module, line)
    return found


def _name(text: str) -> str:
    return re.sub(r"[._]", "-", text)


def _list() -> None:
    print(f"oasis_tf {oasis_tf.__version__}. Commands, oasis-tf COMMAND --help:")
    for name, (_, line) in commands().items():
        print(f"  {name:<23}{line}")
    print("Systems, --system=NAME:")
    for name in systems.NAMES:
        print(f"  {name:<23}{systems.get(name).title}")


def main() -> None:
    """Runs the command that the first argument names, as `python -m MODULE` does."""
    if len(sys.argv) < 2 or sys.argv[1] in ("--help", "-h", "help"):
        _list()
        return
    found, name = commands(), _name(sys.argv[1])
    if name not in found:
        near = difflib.get_close_matches(name, found, 1)
        sys.exit(
            f"ERROR: the first argument must be a command: {', '.join(found)}. Received: "
            f"{sys.argv[1]}.{f' Did you mean {near[0]}?' if near else ''}"
        )
    del sys.argv[1]
    runpy.run_module(found[name][0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()

"""Public names of modules that lie elsewhere: `oasis_tf.models`, `oasis_tf.editing`, `.images`.

An import of such a name, or of a module below it, gives the module at its present place. The
CHANGELOG lists the names that moved.
"""

import importlib
import importlib.abc
import importlib.machinery
import sys

_PLACES = {  # of public names
    "oasis_tf.models": "oasis_tf.systems.oasis.models",
    "oasis_tf.editing": "oasis_tf.systems.oasis.editing",
    "oasis_tf.images": "oasis_tf.io.images",
}


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path=None, target=None):
        del path, target
        if any(f"{name}.".startswith(f"{public}.") for public in _PLACES):
            return importlib.machinery.ModuleSpec(name, self)
        return None

    def create_module(self, spec):
        public = next(p for p in _PLACES if f"{spec.name}.".startswith(f"{p}."))
        present = _PLACES[public] + spec.name.removeprefix(public)
        module = importlib.import_module(present)
        # The import system writes the public name's specification onto the module.
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module):
        module.__spec__ = module.__spec__.loader_state


def install():
    """Lets the public names be imported."""
    # First: the path of a module at its present place would find the modules below it twice.
    sys.meta_path.insert(0, _Finder())

"""Files of a page: those of its own folder, and those that the pages of all systems share.

A page is the folder `page` of a package. The shared files lie beside this module. Both are handed
out, or copied, as one folder.
"""

import importlib.resources

_SHARED = ("oasis_tf.web", "page")


def folders(package):
    """Where the files of a package's page lie: pairs (package, folder), its own first."""
    return [(package, "page"), _SHARED]


def files(package):
    """All files of a package's page, a list of `importlib.resources` paths."""
    roots = (importlib.resources.files(name).joinpath(folder) for name, folder in folders(package))
    return [file for root in roots for file in root.iterdir()]

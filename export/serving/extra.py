"""What needs the extra `serving` says so, before any work."""

import importlib.util


def missing(what, remedy=""):
    """The ValueError that names the extra.

    Args:
        what: what needs it.
        remedy: how to do without, a sentence.
    """
    install = 'pip install "oasis-tf[serving]"'
    return ValueError(f"{what} needs tensorflow-serving-api: {install}. {remedy}".strip())


def check(what, remedy=""):
    """Raises that error unless tensorflow-serving-api is installed."""
    if importlib.util.find_spec("tensorflow_serving") is None:
        raise missing(what, remedy)

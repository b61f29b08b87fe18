"""All that is wrong with many files, in one error."""

import bisect
import contextlib
from collections import Counter

MOST = 10  # named ones; the others are counted
_MOST_VALUES = 20


class WrongValues(ValueError):
    """A file holds values of no class; `values` lists them all, as text."""

    def __init__(self, message, values=()):
        super().__init__(message)
        self.values = tuple(values)


class Problems:
    """Collects errors. The first ten in alphabetical order are kept, the others are counted.

    Attributes:
        count: number of errors.
    """

    def __init__(self):
        self.count = 0
        self._named, self._values = [], Counter()

    def add(self, error):
        """Adds a `ValueError`. What is named already (of a file that several share) is skipped."""
        if str(error) in self._named:
            return
        self.count += 1
        bisect.insort(self._named, str(error))
        del self._named[MOST:]
        self._values.update(getattr(error, "values", ()))

    @contextlib.contextmanager
    def noted(self):
        """Adds the ValueError of a block, if it raises one."""
        try:
            yield
        except ValueError as error:
            self.add(error)

    def error(self, title):
        """Returns a ValueError of the title, the errors, and values of no class in all files."""
        lines = [f"{title}:", *self._named]
        if self.count > MOST:
            lines.append(f"and {self.count - MOST} more")
        if self._values and self.count > 1:
            # Integers by size, then colours.
            values = sorted(self._values, key=lambda value: (len(value), value))
            lines.append(f"Values of no class in all of these files: {_in_files(values, self)}.")
        return ValueError("\n".join(lines))

    def raise_if_any(self, title):
        """Raises the error alone, or `error(title)` of several."""
        if self.count == 1:
            raise ValueError(self._named[0])
        if self.count:
            raise self.error(title)


def _in_files(values, problems):
    named = ", ".join(f"{v} (in {problems._values[v]})" for v in values[:_MOST_VALUES])
    return named + (f" and {len(values) - _MOST_VALUES} more" if len(values) > _MOST_VALUES else "")


def counted(items):
    """Returns "3 of them (a, b, c)", with ten items at most."""
    items = list(items)
    more = f" and {len(items) - MOST} more" if len(items) > MOST else ""
    return f"{len(items)} of them ({', '.join(items[:MOST])}{more})"

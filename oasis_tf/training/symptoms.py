"""When a run is told that something is wrong with it: once, and only if it lasts."""

LINES, STEPS = 3, 200  # of metrics in a row, and the steps that they cover


class Watch:
    """Follows the lines of a run. A restarted run takes in those that are there, and goes on."""

    def __init__(self):
        self._well, self._lines = 0, 0  # the last step without a symptom, lines since then
        self._said = False

    def take(self, step, symptom):
        """Takes in what a line shows.

        Args:
            step: int, of the line.
            symptom: what ``Task.symptom`` says of it.

        Returns:
            bool, whether to say it now.
        """
        if symptom is None:
            self._well, self._lines = step, 0
            return False
        self._lines += 1
        now = not self._said and self._lines >= LINES and step - self._well >= STEPS
        self._said |= now
        return now

"""Asking again after failures that are not the request's: exponential back-off with jitter."""

import dataclasses
import random
import time

from export.serving.errors import TRANSIENT, ServingError


@dataclasses.dataclass(frozen=True)
class Retries:
    """How often and how late a request is repeated.

    Before try k + 1 (k = 1, 2, …) there is a pause drawn evenly from the upper half of
    min(`most_s`, `first_s` 2^(k-1)) seconds, so that clients that failed together do not come back
    together. Only `TRANSIENT` failures are repeated: predictions change nothing on a server.

    Attributes:
        count: most repetitions; 0: none.
        first_s, most_s: pauses.
        seed: of the jitter.
        sleep: function of seconds.
    """

    count: int = 3
    first_s: float = 0.25
    most_s: float = 10.0
    seed: int = 0
    sleep: object = time.sleep

    def pauses(self, key):
        """The pauses of one request, a list of `count` seconds; `key` tells requests apart."""
        jitter = random.Random(f"{self.seed} {key}")
        return [
            min(self.most_s, self.first_s * 2**k) * jitter.uniform(0.5, 1.0)
            for k in range(self.count)
        ]

    def call(self, function, key=""):
        """What `function()` returns in the end.

        Raises:
            ServingError: the first failure that is not transient, or the last of all tries.
        """
        for pause in self.pauses(key):
            try:
                return function()
            except ServingError as error:
                if error.code not in TRANSIENT:
                    raise
            self.sleep(pause)
        return function()

"""The micro-batches of a step, drawn in a thread while the step before computes its gradients."""

from concurrent.futures import Future, ThreadPoolExecutor

from engine.training.distribute import Processes
from engine.training.run.feed import Feed, Portion, Turns


class Ahead:
    """A feed read one step ahead: the same micro-batches, as they depend on the step alone.

    One thread draws them, so that a feed never answers two questions at once.
    """

    def __init__(self, feed: Feed | Turns, processes: Processes, steps: int) -> None:
        self._feed, self._processes, self._steps = feed, processes, steps
        self._thread = ThreadPoolExecutor(1, "batches")
        self._step = -1
        self._portions: Future[list[Portion]] | None = None

    def at(self, step: int) -> list[Portion]:
        """The micro-batches of a step, drawn before or now."""
        if self._portions is None or self._step != step:
            self.begin(step)
        assert self._portions is not None
        found, self._portions = self._portions.result(), None
        return found

    def begin(self, step: int) -> None:
        """Draw the micro-batches of a step while others compute; behind the last there are none."""
        self._step = step
        if step < self._steps:
            self._portions = self._thread.submit(self._feed.at, step, self._processes)

    def close(self) -> None:
        """Let the thread end; what it has not begun to draw is left."""
        self._thread.shutdown(cancel_futures=True)

"""How the demo ends when it is told to: once, and in order."""

import asyncio
import signal

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Ending:
    """Turns the first signal into an end in order. Later ones, and those that come while
    everything is being stopped anyway, change nothing: a stop that is cut short leaves processes
    behind."""

    def __init__(self) -> None:
        self.number: int | None = None
        self.begun = False
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._loop = asyncio.get_running_loop()
        # What a shell or nohup has told us to ignore stays ignored.
        self._taken = [one for one in SIGNALS if signal.getsignal(one) is not signal.SIG_IGN]
        for number in self._taken:
            self._loop.add_signal_handler(number, self._signalled, number)

    def over(self) -> None:
        """Gives the signals back."""
        for number in self._taken:
            self._loop.remove_signal_handler(number)

    def _signalled(self, number: int) -> None:
        if not self.begun:
            self.number, self.begun = number, True
            self._task.cancel()

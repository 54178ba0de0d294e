"""Several processes behind one socket.

The parent serves nothing. It

1. starts the workers and waits until each has started its application; one that does not ends them all,
2. replaces a worker that ends by itself, and has its gauges forgotten,
3. sends SIGTERM to each when it is told to stop, and waits for `drain_seconds` and a little more,
4. kills those that are still there then, or when it is told a second time, and ends with exit code 1.
"""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from prometheus_client.multiprocess import mark_process_dead
from uvicorn.supervisors.multiprocess import Multiprocess, Process

from openmem.server.middleware.metrics import FOLDER_VARIABLE
from openmem.server.runtime.output import say
from openmem.server.runtime.server import FAILED, ServerConfig, ServerProcess

READY_SECONDS: Final = 30.0
_STOP_SECONDS: Final = 5.0
_TICK: Final = 0.05


def serve_with_workers(config: ServerConfig, listener: socket.socket, started: str) -> int:
    """Run the workers until the process is told to stop; return the exit code.

    Args:
        config: What every worker is told.
        listener: What they all listen on.
        started: What is said once they all serve.
    """
    with _metrics_folder():
        workers = Workers(config, listener, started)
        workers.run()
    return FAILED if workers.failed else 0


class Worker(Process):
    """One process, seen from the parent and from itself."""

    config: ServerConfig
    _server: ServerProcess | None

    def __init__(self, config: ServerConfig, sockets: list[socket.socket]) -> None:
        self._parent = os.getpid()
        super().__init__(config, sockets)

    @property
    def server(self) -> ServerProcess:
        """The server of this process."""
        if self._server is None:
            self._server = ServerProcess(self.config, parent=self._parent)
        return self._server

    def always_pong(self) -> None:
        """Answer the parent's questions for as long as it asks."""
        try:
            super().always_pong()
        except (EOFError, OSError):
            return


class Workers(Multiprocess):
    """Starts the workers, replaces those that die, and stops them all.

    Args:
        config: What every worker is told.
        listener: What they all listen on.
        started: What is said once they all serve.
    """

    config: ServerConfig

    def __init__(self, config: ServerConfig, listener: socket.socket, started: str) -> None:
        super().__init__(config, [listener])
        self._listener = listener
        self._started_line = started
        self.failed = False

    def init_processes(self) -> None:
        """Start the workers and wait for them."""
        self.processes = [Worker(self.config, self.sockets) for _ in range(self.processes_num)]
        for worker in self.processes:
            worker.start()
        for worker in self.processes:
            # Told to stop meanwhile, it ends well; else a worker could not start, and said why.
            if not worker.wait_until_ready(READY_SECONDS, self.should_exit):
                self.failed = not self.signal_queue
                self.should_exit.set()
                return
        say(self._started_line)
        self.config.tell_limit()

    def keep_subprocess_alive(self) -> None:
        """Replace workers that are gone."""
        for index, worker in enumerate(self.processes):
            if self.should_exit.is_set() or self.signal_queue or worker.process.is_alive():
                continue
            say(f"worker {worker.pid} ended unexpectedly, another takes its place")
            worker.join()
            # Killed, it could not take its gauges along.
            mark_process_dead(worker.pid, os.environ[FOLDER_VARIABLE])  # type: ignore[no-untyped-call]
            self.processes[index] = Worker(self.config, self.sockets)
            self.processes[index].start()

    def join_all(self) -> None:
        """Wait for the workers; end them at once when told to stop a second time, or when they take too long."""
        self._listener.close()  # the workers have theirs, and drain
        self.signal_queue.clear()  # of the signal that led here: the next one is the second
        left = self.config.settings.drain_seconds + _STOP_SECONDS
        for worker in self.processes:
            while worker.process.is_alive():
                worker.process.join(_TICK)
                left -= _TICK
                if self.signal_queue or left < 0:
                    self._kill_all()

    def _kill_all(self) -> None:
        self.failed = True
        for worker in self.processes:
            if worker.process.is_alive():
                worker.process.kill()

    def handle_hup(self) -> None:
        """Do nothing: settings of a running server do not change, nor does the number of workers."""

    handle_ttin = handle_ttou = handle_hup


@contextmanager
def _metrics_folder() -> Iterator[None]:
    """Give the workers a folder in which their metrics add up."""
    if os.environ.get(FOLDER_VARIABLE):
        yield
        return
    folder = os.environ[FOLDER_VARIABLE] = tempfile.mkdtemp(prefix="omp-server-metrics-")
    try:
        yield
    finally:
        del os.environ[FOLDER_VARIABLE]
        shutil.rmtree(folder, ignore_errors=True)

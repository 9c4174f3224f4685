"""The processes that `tests.forked` has fork: each has imported what is asked for, and starts nothing of it itself.

`python -m tests.forks pumpwatch|venues FD`: a request comes through the socket FD as one JSON object with the arguments, folder,
environment, a module to run instead and statements to run before. Four files come with it: stdin, stdout, stderr, and the pipe
that gets the process id and then the exit code. It ends with the socket.
"""

import atexit
import gc
import json
import os
import runpy
import socket
import sys
import threading
from collections.abc import Callable

fork, waitpid, Socket = os.fork, os.waitpid, socket.socket  # as they are before gevent patches

LONGEST = 1 << 17  # bytes of a request


def pumpwatch() -> Callable[[], None]:
    """Import what a collector imports: itself, and the plugins that ship."""
    from pumpwatch.__main__ import main  # patches, as in `python -m pumpwatch`, and so comes first

    _import_all()
    return main


def _import_all() -> None:
    import numpy.ma  # noqa: F401 for its first figures
    from gevent import get_hub

    import pumpwatch.app.collect
    import pumpwatch.cli
    import pumpwatch.commands.running
    import pumpwatch.ops.log_file
    import pumpwatch.ops.logs  # noqa: F401
    from pumpwatch.config import Config
    from pumpwatch.plugins import load_plugins

    load_plugins(Config())
    get_hub().destroy(destroy_loop=True)  # urllib3 makes a socket, and so a hub, which cannot be forked


def venues() -> Callable[[], None]:
    """Import what the simulated venues import; nothing is patched, as in `python -m pumpwatch.sim`."""
    import pumpwatch.sim.server  # noqa: F401
    from pumpwatch.config import Config
    from pumpwatch.plugins import load_plugins
    from pumpwatch.sim.__main__ import main

    load_plugins(Config())

    def start() -> None:
        os.setsid()
        main()

    return start


def serve(requests: socket.socket, main: Callable[[], None]) -> None:
    """Fork for each request, until the other end is closed."""
    while True:
        while _reaped():
            pass
        message, files, _, _ = socket.recv_fds(requests, LONGEST, 4)
        if not message:
            return
        if fork() == 0:
            requests.close()
            if _keep(files):
                request = json.loads(message)
                _become(request, files)
                _run(request, main)
            os._exit(0)
        for file in files:
            os.close(file)


def _reaped() -> bool:
    try:
        return waitpid(-1, os.WNOHANG)[0] > 0
    except ChildProcessError:
        return False


def _keep(files: list[int]) -> bool:
    """Fork the process itself: return True in it, and False in its parent once it has ended and its code is reported."""
    child = fork()
    if child == 0:
        return True
    report = files.pop()
    for file in (0, 1, 2, *files):
        os.close(file)
    os.write(report, child.to_bytes(4, "little", signed=True))
    _, status = waitpid(child, 0)
    os.write(report, os.waitstatus_to_exitcode(status).to_bytes(4, "little", signed=True))
    return False


def _become(request: dict[str, dict[str, str]], files: list[int]) -> None:
    """Take over the files, folder, environment and arguments of a request."""
    for number, file in enumerate(files[:3]):
        os.dup2(file, number)
    for file in files:
        os.close(file)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environ"])
    sys.argv[1:] = request["arguments"]


def _run(request: dict[str, str], main: Callable[[], None]) -> None:
    """Run the statements of a request, and then its module, or what all of these processes run. Leave with its exit code.

    Threads end and what is registered for the end runs, as usual. Freeing each object is left out: it takes 140 ms of CPU.
    """
    try:
        exec(request["before"], {})
        if request["module"]:
            runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
        else:
            main()
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    ready = {"pumpwatch": pumpwatch, "venues": venues}[sys.argv[1]]()
    gc.collect()
    gc.freeze()  # or each process would copy the memory of all that is imported, to count references to it
    serve(Socket(fileno=int(sys.argv[2])), ready)

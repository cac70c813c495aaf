"""Fresh processes without the seconds that importing torch takes: forked from one that has imported it and no more."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# What takes long; nothing of topo that a test may want to see imported.
SLOW = (
    *("torch", "torch.export._trace", "pandas", "sklearn.datasets", "sklearn.ensemble", "matplotlib.figure"),
    *("topo.cli", "topo.study", "topo.results"),
)
TOPO = "import sys; sys.argv[0] = 'topo'; from topo.cli import main; main()"
SCRIPT = """
import runpy, sys
del sys.argv[0]
sys.path.insert(0, {folder!r})
runpy.run_path({file!r}, run_name="__main__")
"""


class Fresh:
    """Python code that runs in a process that has imported torch and topo, and nothing of any test.

    Parameters
    ----------
    code
        What ``python -c`` would run.
    arguments
        What `sys.argv` holds behind its first item.
    folder
        The working folder.
    root
        The folder that topo is imported from.
    imported
        The modules that the process has imported.

    Attributes
    ----------
    pid
        Of the process, which leads a session of its own.
    returncode
        None until it has been seen to end.
    """

    def __init__(
        self, code: str, *arguments: object, folder: Path, root: Path = ROOT, imported: tuple[str, ...] = SLOW
    ) -> None:
        self._server, self._held = _server(root, imported), tempfile.TemporaryDirectory()
        self.args, self.returncode = [code, *(str(a) for a in arguments)], None
        self._printed: tuple[str, str] | None = None
        self.pid = int(
            self._ask(arguments=self.args, folder=str(folder), output=self._held.name, variables=dict(os.environ))
        )

    def _ask(self, **asked: object) -> str:
        assert self._server.stdin is not None and self._server.stdout is not None
        self._server.stdin.write(json.dumps(asked) + "\n")
        self._server.stdin.flush()
        return self._server.stdout.readline().strip()

    def poll(self, options: int = os.WNOHANG) -> int | None:
        """The exit code, or minus the signal that ended it; None while it runs."""
        if self.returncode is None and (status := self._ask(wait=self.pid, options=options)) != "runs":
            self.returncode = os.waitstatus_to_exitcode(int(status))
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    @property
    def errors(self) -> str:
        """What it has written to its standard error so far."""
        return (Path(self._held.name) / "2").read_text()

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it has printed, once it has ended."""
        end = None if timeout is None else time.monotonic() + timeout
        while self.poll(0 if end is None else os.WNOHANG) is None:
            if end is not None and time.monotonic() > end:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            time.sleep(0.02)
        if self._printed is None:
            self._printed = (Path(self._held.name) / "1").read_text(), self.errors
            self._held.cleanup()
        return self._printed


def run_fresh(code: str, *arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run Python code in a fresh process, to its end.

    Parameters
    ----------
    code, arguments, folder
        As of `Fresh`.

    Returns
    -------
    CompletedProcess
        With its output.
    """
    process = Fresh(code, *arguments, folder=folder)
    out, err = process.communicate()
    assert process.returncode is not None
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def topo_fresh(*arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command of topo in a fresh process.

    Parameters
    ----------
    arguments
        Of the command.
    folder
        The working folder.

    Returns
    -------
    CompletedProcess
        With its output.
    """
    return run_fresh(TOPO, *arguments, folder=folder)


def script_fresh(script: Path, *arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a Python script in a fresh process.

    Parameters
    ----------
    script
        The file.
    arguments
        Of the script.
    folder
        The working folder.

    Returns
    -------
    CompletedProcess
        With its output.
    """
    code = SCRIPT.format(folder=str(script.parent), file=str(script))
    return run_fresh(code, script.name, *arguments, folder=folder)


@cache
def _server(root: Path, imported: tuple[str, ...]) -> subprocess.Popen[str]:
    """The process that forks; it ends with this one, when its input does."""
    variables = {
        "PYTHONPATH": os.pathsep.join(filter(None, (str(root), os.environ.get("PYTHONPATH")))),
        # Hashes are others than in this process.
        "PYTHONHASHSEED": "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1",
    }
    command = [sys.executable, __file__, str(root), *imported]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    return subprocess.Popen(command, **pipes, text=True, cwd=root, env=os.environ | variables)


def _serve() -> None:
    sys.path[0] = sys.argv[1]
    for name in sys.argv[2:]:
        importlib.import_module(name)
    for line in sys.stdin:
        asked = json.loads(line)
        if "wait" in asked:
            ended, status = os.waitpid(asked["wait"], asked["options"])
            print(status if ended else "runs", flush=True)
            continue
        for number in (1, 2):
            (Path(asked["output"]) / str(number)).touch()
        child = os.fork()
        if child:
            print(child, flush=True)
            continue
        os.setsid()
        for number in (1, 2):
            os.dup2(os.open(f"{asked['output']}/{number}", os.O_WRONLY), number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os._exit(_run(asked))


def _run(asked: dict) -> int:
    os.chdir(asked["folder"])
    own = {name: os.environ[name] for name in ("PYTHONPATH", "PYTHONHASHSEED")}
    os.environ.clear()
    os.environ.update(asked["variables"] | own)
    code, *arguments = asked["arguments"]
    sys.argv, sys.path[0] = ["-c", *arguments], ""
    status = 0
    try:
        exec(compile(code, "<code>", "exec"), {"__name__": "__main__"})
    except SystemExit as left:
        status = left.code if isinstance(left.code, int) else int(left.code is not None)
        if isinstance(left.code, str):
            print(left.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return status


if __name__ == "__main__":
    _serve()

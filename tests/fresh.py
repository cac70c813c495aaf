"""Fresh processes without the seconds that importing torch takes: forked from one that has imported it and no more."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
import traceback
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TOPO = "import sys; sys.argv[0] = 'topo'; from topo.cli import main; main()"
SCRIPT = """
import runpy, sys
del sys.argv[0]
sys.path.insert(0, {folder!r})
runpy.run_path({file!r}, run_name="__main__")
"""


def run_fresh(code: str, *arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process that has imported torch and topo, and nothing of any test.

    Parameters
    ----------
    code
        What ``python -c`` would run.
    arguments
        What `sys.argv` holds behind its first item.
    folder
        The working folder.

    Returns
    -------
    CompletedProcess
        With its output.
    """
    server = _server()
    assert server.stdin is not None and server.stdout is not None
    with tempfile.TemporaryDirectory() as held:
        asked = {"code": code, "arguments": [str(a) for a in arguments], "folder": str(folder), "output": held}
        server.stdin.write(json.dumps(asked) + "\n")
        server.stdin.flush()
        status = os.waitstatus_to_exitcode(int(server.stdout.readline()))
        texts = [(Path(held) / name).read_text() for name in ("1", "2")]
    return subprocess.CompletedProcess([code, *asked["arguments"]], status, *texts)


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
def _server() -> subprocess.Popen[str]:
    """The process that forks; it ends with this one, when its input does."""
    return subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )


def _serve() -> None:
    sys.path[0] = str(ROOT)
    # What takes long; nothing of topo that a test may want to see imported.
    for name in ("torch", "pandas", "sklearn.ensemble", "matplotlib.figure", "topo.cli", "topo.study", "topo.results"):
        importlib.import_module(name)
    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if child:
            print(os.waitpid(child, 0)[1], flush=True)
            continue
        os.setsid()
        for number in (1, 2):
            os.dup2(os.open(f"{asked['output']}/{number}", os.O_WRONLY | os.O_CREAT), number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os._exit(_run(asked))


def _run(asked: dict) -> int:
    os.chdir(asked["folder"])
    sys.argv, sys.path[0] = ["-c", *asked["arguments"]], ""
    status = 0
    try:
        exec(compile(asked["code"], "<code>", "exec"), {"__name__": "__main__"})
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

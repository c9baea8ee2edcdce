"""Script for the separate process in which a foreign file is first read.

It is started by :mod:`headstart.models.importers.isolation`, limits its own memory and processor time, reads the file
and writes ``outcome.json``.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path


def main(task: str, source: str, folder: str, seconds: str, memory: str) -> None:
    """Read ``source`` for one task and write what came of it into ``folder``.

    :param task: "graph", conversion of a whole network; or "layers", reading of the variables of a Keras network.
    :param seconds: of wall-clock time, after which the parent process stops this one.
    :param memory: in bytes.
    """
    _limit(int(seconds), int(memory))
    # Here, since the folder of this file must not be searched for modules.
    from headstart.errors import ModelError
    from headstart.models.importers.isolation import Outcome

    outcome = Outcome()
    try:
        _read(task, Path(source), Path(folder))
    except ModelError as failure:
        outcome = Outcome(str(failure), type(failure).__name__ == "UnsupportedNetwork")
    except MemoryError:
        outcome = Outcome("damaged, or needs more memory than a file of its size should")
    except OSError as failure:
        outcome = Outcome(f"cannot be read ({failure.strerror or failure})")
    except Exception as failure:  # the libraries raise whatever they run into
        outcome = Outcome(f"damaged, or of an unknown kind ({type(failure).__name__}: {failure})"[:400])
    outcome.write(Path(folder))


def _read(task: str, source: Path, folder: Path) -> None:
    if task == "graph":
        from headstart.models.importers.graphs.conversion import convert

        convert(source, folder)
    else:
        from headstart.models.importers.keras.files import read_file

        read_file(source)


def _limit(seconds: int, memory: int) -> None:
    """Limit processor time and memory where the system can (not on Windows)."""
    with suppress(ImportError, ValueError, OSError):
        import os
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        cores = os.cpu_count() or 1
        resource.setrlimit(resource.RLIMIT_CPU, (seconds * cores, seconds * cores + 5))
        # Of the data, not of the address space: libraries reserve much of that and never use it.
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))


if __name__ == "__main__":
    sys.path.pop(0)  # the folder of this file, whose modules would shadow others of the same name
    main(*sys.argv[1:])

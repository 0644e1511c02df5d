"""`store://`: a folder of this machine that is written as slowly and as openly as a far one.

`python tests/cloud_store.py predict ...` is the command with that protocol known. With
`STORE_KILLS=n` the process is killed at the n-th moment of putting files: when half of one is put
aside, when it is whole there, when it has its name.
"""

from __future__ import annotations

import itertools
import os
import signal
import time
from pathlib import Path

import fsspec
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

SECONDS = 0.002
KILLED_AT = int(os.environ.get("STORE_KILLS", 0))

_moments = itertools.count(1)


def moment() -> None:
    if next(_moments) == KILLED_AT:
        os.kill(os.getpid(), signal.SIGKILL)


class Store(LocalFileSystem):
    """Halves of files are to be seen under the name they are put at."""

    protocol = ("store",)

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(str(path).removeprefix("store://"))

    def unstrip_protocol(self, name):
        return f"store://{self._strip_protocol(name)}"

    def pipe_file(self, path, value, mode="overwrite", **how):
        with Path(path).open("wb") as stream:
            stream.write(value[: len(value) // 2])
            stream.flush()
            moment()
            time.sleep(SECONDS)
            stream.write(value[len(value) // 2 :])
        moment()

    def mv(self, path1, path2, **how):
        super().mv(path1, path2, **how)
        moment()

    def put_file(self, path1, path2, callback=None, **how):
        self.pipe_file(path2, Path(path1).read_bytes())


class Shut(MemoryFileSystem):
    """Nothing may be put."""

    protocol = ("shut",)

    def pipe_file(self, path, value, mode="overwrite", **how):
        raise PermissionError("Access Denied")


for system in (Store, Shut):
    fsspec.register_implementation(system.protocol[0], system, clobber=True)


if __name__ == "__main__":
    from wsol_deploy.cli import main

    main()

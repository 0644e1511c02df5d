"""What the command line says."""

from __future__ import annotations


def one_line(err: str) -> str:
    """The only error line, which is the last line and no traceback."""
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert err.splitlines()[-1] == lines[0]
    assert "Traceback" not in err
    return lines[0]

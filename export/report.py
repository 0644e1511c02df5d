"""proof.json and its readable twin proof.md, beside the artifacts they speak of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from wsol_deploy.export.proof import TITLES, Proof
from wsol_deploy.files import write_whole

REPORT, TABLE = "proof.json", "proof.md"


def record(target: Path, proof: Proof, digest: str | None) -> None:
    """Enter one artifact in its folder's report.

    Args:
        target: the artifact's path.
        proof: what was found.
        digest: sha256 of the file, or None where it was not kept; an older file of that name
            and its entry stay then.
    """
    path = target.with_name(REPORT)
    entries = _read(path)
    if digest:
        entries["artifacts"][target.name] = {"sha256": digest, **proof.to_dict()}
        entries["not_kept"].pop(target.name, None)
    else:
        entries["not_kept"][target.name] = proof.to_dict()
    told = json.dumps(entries, indent=2, ensure_ascii=False) + "\n"
    write_whole(path, told.encode())
    write_whole(target.with_name(TABLE), table(entries).encode())


def table(entries: dict[str, dict[str, Any]]) -> str:
    """The report as Markdown."""
    lines = ["# Proof: exported files against eager PyTorch", ""]
    for title, key in (("kept", "artifacts"), ("not kept", "not_kept")):
        for name, entry in entries[key].items():
            lines += _section(name, title, entry)
    return "\n".join(lines) + "\n"


def _section(name: str, title: str, entry: dict[str, Any]) -> list[str]:
    verdict = entry["failure"] or "within limits"
    rows = {**entry["outputs"], "batch against singles": entry["batch_against_singles"]}
    lines = [
        f"## {name}: {title}",
        f"{verdict}; {entry['data']}, on {entry['device']}; {entry['masks']}, "
        f"labels agree {entry['labels_agree']:.2%}",
        "",
        "| output | largest difference | mean | relative | on |",
        "|---|---|---|---|---|",
        *(
            f"| {output} | {apart['max']:.2e} | {apart['mean']:.2e} | {apart['relative']:.2e} | "
            f"{apart['worst']} |"
            for output, apart in rows.items()
        ),
        "",
    ]
    if entry["metrics"]:
        ours, theirs = entry["metrics"]["pytorch"], entry["metrics"]["artifact"]
        lines += ["| metric | PyTorch | file |", "|---|---|---|"]
        lines += [
            f"| {TITLES[metric]} | {100 * ours[metric]:.2f} % | {100 * theirs[metric]:.2f} % |"
            for metric in ours
        ]
        lines.append("")
    return lines


def _read(path: Path) -> dict[str, Any]:
    """The report's entries, but for those of another version of it."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        found = {}
    return {
        key: {name: entry for name, entry in found.get(key, {}).items() if "masks" in entry}
        for key in ("artifacts", "not_kept")
    }

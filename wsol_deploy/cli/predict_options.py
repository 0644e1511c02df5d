"""Options of `wsol predict` that few need: very large images, more than one machine."""

from __future__ import annotations

from typing import Annotated

import typer

LARGE = "Very large images"
CLUSTER = "More than one machine"

TileAbove = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Pixels above which an image is seen in tiles. Default: 32 million.",
        show_default=False,
        rich_help_panel=LARGE,
    ),
]
Tile = Annotated[int, typer.Option(help="Pixels a side, a multiple of 64.", rich_help_panel=LARGE)]
Overlap = Annotated[
    int, typer.Option(help="Pixels neighbours share, a multiple of 64.", rich_help_panel=LARGE)
]
Level = Annotated[
    int | None,
    typer.Option(
        min=0, help="Of a slide or a pyramidal TIFF; 0 the largest.", rich_help_panel=LARGE
    ),
]
Mpp = Annotated[
    float | None,
    typer.Option(min=1e-3, help="Micrometres of a pixel, for the same.", rich_help_panel=LARGE),
]
SkipBackground = Annotated[
    bool, typer.Option("--skip-background", help="Pass over bare glass.", rich_help_panel=LARGE)
]
EngineName = Annotated[
    str, typer.Option(help="local, or ray for a cluster.", rich_help_panel=CLUSTER)
]
Address = Annotated[
    str | None,
    typer.Option(
        help="Of the cluster. Default: one on this machine.",
        show_default=False,
        rich_help_panel=CLUSTER,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Models at once. Default: one a GPU, or one a machine.",
        show_default=False,
        rich_help_panel=CLUSTER,
    ),
]

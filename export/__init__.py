"""Export: the deployment graph in every format, each proved against PyTorch before it is kept.

Importing this imports no torch: `wsol benchmark` runs where only the runtime is installed.
"""

from __future__ import annotations

from wsol_deploy.export.exporter import Exported, export_model
from wsol_deploy.export.options import Options
from wsol_deploy.export.shape import Shape

__all__ = ["Exported", "Options", "Shape", "export_model"]

"""Export: the deployment graph in every format, each proved against PyTorch before it is kept."""

from __future__ import annotations

from wsol_deploy.export.exporter import Exported, export_model

__all__ = ["Exported", "export_model"]

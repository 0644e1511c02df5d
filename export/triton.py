"""A model repository for NVIDIA Triton: NAME/config.pbtxt and NAME/1/model.onnx."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from wsol_deploy.artifacts import format_of, read_card
from wsol_deploy.card import ModelCard
from wsol_deploy.errors import UsageError, WsolError

LARGEST_BATCH = 8
PREFERRED = [4, 8]
WARM_UP_SIDE = 256
PLATFORMS = {"onnx": "onnxruntime_onnx", "torchscript": "pytorch_libtorch"}
FILE_NAMES = {"onnx": "model.onnx", "torchscript": "model.pt"}


def write_repository(artifact: Path, repository: Path, *, overwrite: bool = False) -> Path:
    """Put an artifact into a model repository.

    Args:
        artifact: a proved .onnx or .torchscript.
        repository: what `tritonserver --model-repository` is given.
        overwrite: replace a model of that name.

    Returns:
        The model's folder.

    Raises:
        UsageError: Triton does not load that format.
        WsolError: there is a model of that name.
    """
    kind = format_of(artifact)
    if kind not in PLATFORMS:
        raise UsageError(f"{artifact}: Triton loads .onnx and .torchscript")
    card = read_card(artifact)
    folder = model_folder(card, repository, overwrite=overwrite)
    version = folder / "1"
    version.mkdir(parents=True, exist_ok=True)
    for former in FILE_NAMES.values():
        (version / former).unlink(missing_ok=True)
    shutil.copyfile(artifact, version / FILE_NAMES[kind])
    (folder / "config.pbtxt").write_text(config(card, kind, folder.name), "utf-8")
    (folder / "labels.txt").write_text("\n".join(card.classes) + "\n", "utf-8")
    return folder


def model_folder(card: ModelCard, repository: Path, *, overwrite: bool = False) -> Path:
    """Where a model of this card goes in a repository.

    Raises:
        WsolError: there is a model of that name.
    """
    folder = repository / (re.sub(r"[^A-Za-z0-9_-]+", "_", card.name).strip("_") or "wsol")
    if folder.exists() and not overwrite:
        raise WsolError(f"{folder}: is there already; add --overwrite to replace it")
    return folder


def config(card: ModelCard, kind: str, name: str) -> str:
    """The model's configuration, in protobuf's text format.

    Args:
        card: of the artifact.
        kind: onnx or torchscript.
        name: of the model's folder.
    """
    size = card.input.size
    sides = [size.height, size.width] if size.height and size.width else [-1, -1]
    fixed = card.input.batch
    lead = [fixed] if fixed else []  # Triton adds the batch axis itself where it may change it
    # Triton's LibTorch back end knows no names: it counts inputs and outputs.
    positional = kind == "torchscript"
    image = "INPUT__0" if positional else card.input.name
    warm = [side if side > 0 else WARM_UP_SIDE for side in sides]
    outputs = ",\n".join(
        _output(f"OUTPUT__{at}" if positional else output, output, [*lead, *shape])
        for at, (output, shape) in enumerate(_shapes(card, sides).items())
    )
    lines = [
        f'name: "{name}"',
        f'platform: "{PLATFORMS[kind]}"',
        f"max_batch_size: {0 if fixed else LARGEST_BATCH}",
        f'input [ {{ name: "{image}" data_type: TYPE_UINT8 dims: {[*lead, *sides, 3]} }} ]',
        f"output [\n{outputs}\n]",
        f'model_warmup [ {{ name: "first" batch_size: {0 if fixed else 1} inputs {{ key: '
        f'"{image}" value {{ data_type: TYPE_UINT8 dims: {[*lead, *warm, 3]} random_data: true }} '
        "} } ]",
    ]
    if not fixed:  # requests of one image size wait a little for each other
        lines.append(
            f"dynamic_batching {{ preferred_batch_size: {PREFERRED} "
            "max_queue_delay_microseconds: 2000 }"
        )
    return "\n".join(lines) + "\n"


def _shapes(card: ModelCard, sides: list[int]) -> dict[str, list[int]]:
    count = len(card.classes)
    special = {
        "mask": [1, *sides],
        "class_maps": [count, -1, -1],
        "class_masks": [count, *sides],
    }
    return {output: special.get(output, [count]) for output in card.outputs}


def _output(name: str, output: str, shape: list[int]) -> str:
    labels = ' label_filename: "labels.txt"' if "probs" in output else ""
    return f'  {{ name: "{name}" data_type: TYPE_FP32 dims: {shape}{labels} }}'

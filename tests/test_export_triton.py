"""The Triton repository: parsed as protobuf text, against the fields of Triton's own schema."""

from __future__ import annotations

from pathlib import Path

import pytest
from artifacts import make_artifact
from exporting import exports
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from google.protobuf.message import Message

from wsol_deploy.artifacts import read_card
from wsol_deploy.card import CONTRACT, OUTPUTS
from wsol_deploy.errors import UsageError, WsolError
from wsol_deploy.export.triton import config, write_repository

FIELDS = {
    "Tensor": {"name": "s", "data_type": "Type", "dims": "i*", "label_filename": "s"},
    "Batching": {"preferred_batch_size": "i*", "max_queue_delay_microseconds": "i"},
    "WarmInput": {"data_type": "Type", "dims": "i*", "random_data": "b"},
    "Entry": {"key": "s", "value": "WarmInput"},
    "WarmUp": {"name": "s", "batch_size": "i", "inputs": "Entry*"},
    "Config": {
        "name": "s",
        "platform": "s",
        "max_batch_size": "i",
        "input": "Tensor*",
        "output": "Tensor*",
        "dynamic_batching": "Batching",
        "model_warmup": "WarmUp*",
    },
}
KINDS = {"s": 9, "i": 3, "b": 8}  # of FieldDescriptorProto: string, int64, bool


def _parse(text: str) -> Message:
    """Triton's ModelConfig: by its client where that is installed, else by the fields we use."""
    try:
        from tritonclient.grpc.model_config_pb2 import ModelConfig
    except ImportError:
        ModelConfig = _schema()
    return text_format.Parse(text, ModelConfig())


def _schema() -> type[Message]:
    file = descriptor_pb2.FileDescriptorProto(name="config.proto", package="test")
    types = file.enum_type.add(name="Type")
    for number, name in enumerate(("TYPE_INVALID", "TYPE_UINT8", "TYPE_FP32")):
        types.value.add(name=name, number=number)
    for message, fields in FIELDS.items():
        described = file.message_type.add(name=message)
        for number, (name, kind) in enumerate(fields.items(), start=1):
            field = described.field.add(name=name, number=number, label=3 if "*" in kind else 1)
            kind = kind.rstrip("*")
            if kind in KINDS:
                field.type = KINDS[kind]  # type: ignore[assignment]
            else:
                field.type_name = f".test.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("test.Config"))


def test_the_repository_has_what_triton_looks_for(tmp_path: Path) -> None:
    folder = write_repository(exports()["onnx"].path, tmp_path)
    assert folder == tmp_path / "tiny"
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert files == {"config.pbtxt", "labels.txt", "1/model.onnx"}
    assert (folder / "1/model.onnx").read_bytes() == exports()["onnx"].path.read_bytes()
    assert (folder / "labels.txt").read_text().split() == ["benign", "malignant"]


def test_the_configuration_is_the_contract(tmp_path: Path) -> None:
    folder = write_repository(exports()["onnx"].path, tmp_path)
    found = _parse((folder / "config.pbtxt").read_text())
    assert found.name == "tiny"
    assert found.platform == "onnxruntime_onnx"
    assert found.max_batch_size > 1
    (image,) = found.input
    assert (image.name, list(image.dims)) == ("image", [-1, -1, 3])
    assert [output.name for output in found.output] == list(OUTPUTS)
    assert list(found.output[0].dims) == [1, -1, -1]
    assert found.dynamic_batching.preferred_batch_size
    assert len(found.model_warmup) == 1


def test_torchscript_is_named_and_numbered_as_its_back_end_wants(tmp_path: Path) -> None:
    folder = write_repository(exports()["torchscript"].path, tmp_path)
    found = _parse((folder / "config.pbtxt").read_text())
    assert found.platform == "pytorch_libtorch"
    assert found.input[0].name == "INPUT__0"
    assert [output.name for output in found.output] == [f"OUTPUT__{at}" for at in range(5)]
    assert (folder / "1" / "model.pt").is_file()


def test_a_fixed_batch_is_part_of_the_shapes(tmp_path: Path) -> None:
    card = read_card(exports()["onnx"].path)
    card.input.batch = 4
    found = _parse(config(card, "onnx", "tiny"))
    assert found.max_batch_size == 0
    assert list(found.input[0].dims) == [4, -1, -1, 3]
    assert list(found.output[0].dims) == [4, 1, -1, -1]
    assert not found.dynamic_batching.preferred_batch_size


def test_a_name_that_is_no_file_name(tmp_path: Path) -> None:
    model = make_artifact(tmp_path / "model.onnx", name="Drüsen / v2")
    folder = write_repository(model, tmp_path / "repository")
    assert folder.parent == tmp_path / "repository"
    assert _parse((folder / "config.pbtxt").read_text()).name == folder.name


def test_what_triton_does_not_load_and_what_is_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.onnx and \.torchscript"):
        write_repository(exports()["pt2"].path, tmp_path)
    write_repository(exports()["onnx"].path, tmp_path)
    with pytest.raises(WsolError, match="--overwrite"):
        write_repository(exports()["onnx"].path, tmp_path)
    folder = write_repository(exports()["torchscript"].path, tmp_path, overwrite=True)
    assert [file.name for file in (folder / "1").iterdir()] == ["model.pt"]


def test_each_class_of_a_multi_label_model_has_a_mask(tmp_path: Path) -> None:
    card = read_card(exports()["onnx"].path)
    card.outputs = dict.fromkeys(CONTRACT, "")
    found = _parse(config(card, "onnx", "tiny"))
    assert list(found.output[-1].dims) == [len(card.classes), -1, -1]

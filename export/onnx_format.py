"""ONNX by torch's current exporter: one file, dynamic batch, height and width, the card inside."""

from __future__ import annotations

import ast
import contextlib
import io
import logging
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import onnx
import torch
from onnxscript import ir

from wsol_deploy import integrity
from wsol_deploy.artifacts import read_card
from wsol_deploy.card import CARD_KEY, ModelCard
from wsol_deploy.errors import WsolError
from wsol_deploy.export import slices
from wsol_deploy.export.formats import Writer
from wsol_deploy.export.shape import AXES, Shape
from wsol_deploy.model.deploy import DeployedModel

OPSET = 18
NEWEST_IR = 11  # read by every ONNX Runtime from 1.20 on
LARGEST = 2**31 - 1  # protobuf's limit
SCOPES = "pkg.torch.onnx.name_scopes"


def convert(model: DeployedModel, shape: Shape) -> Writer:
    """Convert to ONNX; see `graph`."""
    return writer(graph(model, shape))


def graph(model: DeployedModel, shape: Shape) -> onnx.ModelProto:
    """The model as an ONNX graph.

    Raises:
        WsolError: the graph has not the opset, IR or shapes that were asked for.
    """
    with _quietly(), torch.no_grad():
        program = torch.onnx.export(
            model,
            (shape.example(),),
            dynamo=True,
            input_names=["image"],
            output_names=list(model.names),
            dynamic_shapes=(shape.dynamic,),
            opset_version=OPSET,
            external_data=False,
            verbose=False,
        )
        if program is None:
            raise WsolError("torch.onnx.export gave nothing; this is a bug of ours")
        merged = slices.merge(program.model)
    proto = ir.to_proto(merged)
    _name_by_module(proto.graph.node)
    _drop_traces(proto.graph)
    check(proto, shape)
    return proto


def writer(proto: onnx.ModelProto) -> Writer:
    """Puts the graph with a card into one file."""

    def write(path: Path, card: ModelCard) -> None:
        del proto.metadata_props[:]
        proto.metadata_props.add(key=CARD_KEY, value=card.to_json())
        path.write_bytes(integrity.seal(proto.SerializeToString()))
        if read_card(path) != card:
            raise WsolError(f"{path}: its card reads back differently; this is a bug of ours")

    return write


def check(proto: onnx.ModelProto, shape: Shape) -> None:
    """Whether the graph is a valid one, of our opset and IR, with shapes as they should be.

    Raises:
        WsolError: it is not; the message names the first thing that is wrong.
    """
    if proto.ByteSize() > LARGEST:
        raise WsolError("the model is over 2 GB, more than one ONNX file holds; use .pt2")
    try:
        onnx.checker.check_model(proto, full_check=True)
    except Exception as error:
        raise WsolError(f"the exporter wrote an invalid ONNX graph: {error}") from error
    opsets = {entry.domain or "ai.onnx": entry.version for entry in proto.opset_import}
    if opsets != {"ai.onnx": OPSET}:
        raise WsolError(f"the ONNX graph uses opsets {opsets}, not ai.onnx {OPSET} alone")
    if proto.ir_version > NEWEST_IR:
        raise WsolError(f"the ONNX graph has IR {proto.ir_version}, newer than {NEWEST_IR}")
    batch, height, width = (size or name for size, name in zip(shape.sizes, AXES, strict=True))
    _check_shape(proto.graph.input, "image", [batch, height, width, 3])
    _check_shape(proto.graph.output, "mask", [batch, 1, height, width])


def _check_shape(
    values: Iterable[onnx.ValueInfoProto], name: str, expected: Sequence[str | int]
) -> None:
    for value in values:
        if value.name == name:
            found = [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
            if found != expected:
                raise WsolError(f"the ONNX graph's {name} has shape {found}, not {expected}")


def _name_by_module(nodes: Iterable[onnx.NodeProto]) -> None:
    """Put the torch module that a node comes from before its name."""
    for node in nodes:
        for entry in node.metadata_props:
            if entry.key == SCOPES:
                module = ["", *ast.literal_eval(entry.value)][-2]
                if module.startswith("network"):
                    node.name = f"{module}/{node.name}"


def _drop_traces(graph: onnx.GraphProto) -> None:
    """Drop the stack traces of this machine that the exporter leaves in every node."""
    graph.doc_string = ""
    del graph.metadata_props[:]
    for item in (*graph.node, *graph.value_info, *graph.input, *graph.output):
        item.doc_string = ""
        del item.metadata_props[:]


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)

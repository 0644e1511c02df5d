"""Half precision, int8, fixed shapes."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from exporting import a_checkpoint, exports, graph_again, quick, small_images

from wsol_deploy import runtime
from wsol_deploy.artifacts import read_card
from wsol_deploy.card import OUTPUTS
from wsol_deploy.errors import ProofFailed, UsageError
from wsol_deploy.export import Options, Shape, export_model, exporter, proof_data
from wsol_deploy.model import checkpoint


@pytest.fixture(scope="module")
def noise() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (2, 64, 96, 3), dtype=np.uint8)


def test_half_is_smaller_and_gives_float32_near_pytorch(tmp_path: Path, noise: np.ndarray) -> None:
    options = Options(precision="float16", proof_data=small_images())
    (done,) = export_model(a_checkpoint(), ["onnx"], tmp_path, options=options)
    assert done.path.name == "model.fp16.onnx"
    assert done.path.stat().st_size < 0.6 * exports()["onnx"].path.stat().st_size
    assert read_card(done.path).precision == "float16"
    whole = runtime.load(exports()["onnx"].path, device="cpu").run(noise)
    half = runtime.load(done.path, device="cpu").run(noise)
    for name in OUTPUTS:
        assert half[name].dtype == np.float32
    apart = np.abs(half["mask"] - whole["mask"]).max()
    assert 0 < apart < 0.1


def test_a_fixed_shape_is_in_the_graph_and_any_image_still_goes_through(tmp_path: Path) -> None:
    options = Options(shape=Shape(2, 64, 80), proof_data=small_images())
    (done,) = export_model(a_checkpoint(), ["onnx"], tmp_path, options=options)
    assert done.path.name == "model.2x64x80.onnx"
    session = onnxruntime.InferenceSession(str(done.path), providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == [2, 64, 80, 3]
    predictor = runtime.load(done.path, device="cpu")
    pictures = [np.full((50 + at, 70, 3), 40 * at, np.uint8) for at in range(3)]
    masks = [found.mask.shape for found in predictor.predict(pictures)]
    assert masks == [(50, 70), (51, 70), (52, 70)]
    free = runtime.load(exports()["onnx"].path, device="cpu")
    batch = np.stack([predictor.prepare(picture) for picture in pictures])
    np.testing.assert_allclose(predictor.run(batch)["probs"], free.run(batch)["probs"], atol=1e-4)


def test_int8_needs_training_images() -> None:
    with pytest.raises(UsageError, match="--proof-data"):
        export_model(a_checkpoint(), ["onnx"], options=Options(precision="int8"))


def test_int8_is_calibrated_on_images_from_first_to_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sets are sorted by class: the first images would be of one class."""
    pictures = tuple(
        proof_data.Picture("", partial(np.full, (32, 32, 3), number, np.uint8))
        for number in range(100)
    )
    data = proof_data.ProofData("a hundred", pictures)
    monkeypatch.setattr(proof_data, "training", lambda *_: data)
    path = a_checkpoint()
    batches = exporter._calibration(read_card(path), path, Options(precision="int8"))
    seen = [int(batch.flat[0]) for batch in batches]
    assert len(set(seen)) == exporter.CALIBRATION
    assert max(np.diff([*seen, 100])) <= 2


@pytest.fixture(scope="module")
def forced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        graph_again(patch)
        return _forced(tmp_path_factory.mktemp("int8"))


def _forced(folder: Path) -> Path:
    options = Options(precision="int8", force=True, proof_data=small_images())
    return export_model(a_checkpoint(), ["onnx"], folder, options=options)[0].path


def test_forced_int8_is_int8_and_says_so(forced: Path, noise: np.ndarray) -> None:
    assert forced.stat().st_size < 0.5 * exports()["onnx"].path.stat().st_size
    operators = {node.op_type for node in onnx.load(forced).graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= operators
    card = read_card(forced)
    assert card.precision == "int8"
    assert card.proof is not None and card.proof["forced"]
    assert "kept by force" in card.proof["summary"]
    assert runtime.load(forced, device="cpu").run(noise)["mask"].dtype == np.float32


def test_int8_that_loses_too_much_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Random weights have no margin at all: their masks change with every rounding."""
    graph_again(monkeypatch)
    options = Options(precision="int8", proof_data=small_images())
    with pytest.raises(ProofFailed, match=r"points.*--keep-float network\.backbone") as caught:
        export_model(a_checkpoint(), ["onnx"], tmp_path, options=options)
    assert "--force-int8" in str(caught.value)
    assert {path.name for path in tmp_path.iterdir()} == {"proof.json", "proof.md"}


def test_a_layer_kept_in_float_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph_again(monkeypatch)
    layer = "network.backbone.features.stages.0.0"
    options = Options(precision="int8", force=True, keep_float=(layer,), proof_data=small_images())
    (done,) = export_model(a_checkpoint(), ["onnx"], tmp_path, options=options)
    stems = [node for node in onnx.load(done.path).graph.node if node.name.startswith(layer)]
    assert stems
    assert not any("Linear" in node.op_type for node in stems)


def test_an_unknown_layer_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph_again(monkeypatch)
    options = Options(precision="int8", keep_float=("nothing",), proof_data=small_images())
    with pytest.raises(UsageError, match="no such layer"):
        export_model(a_checkpoint(), ["onnx"], tmp_path, options=options)


def test_simplify_keeps_the_contract(
    tmp_path: Path, noise: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph_again(monkeypatch)
    options = Options(simplify=True, proof_data=small_images())
    (done,) = export_model(a_checkpoint(), ["onnx"], tmp_path, options=options)
    plain = runtime.load(exports()["onnx"].path, device="cpu").run(noise)
    slimmed = runtime.load(done.path, device="cpu").run(noise)
    np.testing.assert_allclose(slimmed["mask"], plain["mask"], atol=1e-4)


def test_quick_options_are_labelled_as_what_they_are() -> None:
    proof = exports()["onnx"].proof
    assert proof.data == "3 images of images"
    assert quick().proof_data == small_images()


def test_flips_are_in_the_graph(tmp_path: Path, noise: np.ndarray) -> None:
    network, card = checkpoint.load(a_checkpoint())
    flipped = tmp_path / "run" / "best.safetensors"
    checkpoint.save(flipped, network, card.model_copy(update={"model": {**card.model, "flips": 2}}))
    (done,) = export_model(flipped, ["onnx"], options=quick())
    model, plain = (runtime.load(path, device="cpu") for path in (done.path, a_checkpoint()))
    mirrored = np.ascontiguousarray(noise[:, :, ::-1])
    one, other = plain.run(noise)["mask"], plain.run(mirrored)["mask"][..., ::-1]
    np.testing.assert_allclose(model.run(noise)["mask"], (one + other) / 2, atol=1e-4)

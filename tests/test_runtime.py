"""`load` and `predict`: what the library promises to those who import it."""

from __future__ import annotations

import logging
import subprocess
import sys

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from artifacts import CLASSES, make_artifact
from PIL import Image

import wsol_deploy
from wsol_deploy.card import OUTPUTS, SizePolicy, Trust
from wsol_deploy.errors import ArtifactError, ImageError, UsageError, WsolError
from wsol_deploy.runtime import devices, render
from wsol_deploy.runtime.onnx_outputs import keep_outputs, output_names
from wsol_deploy.runtime.postprocess import PostProcess
from wsol_deploy.runtime.predictor import MAX_GRAPH_PIXELS
from wsol_deploy.runtime.trust import FAINT, contrast, entropy

DARK_RED = (150, 50, 50)
DARK_BLUE = (50, 50, 150)


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    return make_artifact(tmp_path_factory.mktemp("model") / "model.onnx")


@pytest.fixture(scope="module")
def predictor(artifact):
    return wsol_deploy.load(artifact, device="cpu")


def scene(height=96, width=128, colour=DARK_RED, where=np.s_[24:72, 40:96]) -> np.ndarray:
    image = np.full((height, width, 3), 235, np.uint8)
    image[where] = colour
    return image


def test_what_is_loaded(predictor, artifact):
    assert predictor.path == artifact
    assert predictor.device == "cpu"
    assert predictor.outputs == OUTPUTS
    assert predictor.card.classes == list(CLASSES)


def test_a_mask_lies_on_what_is_dark(predictor):
    prediction = predictor.predict(scene())
    truth = np.zeros((96, 128), bool)
    truth[24:72, 40:96] = True
    overlap = (prediction.mask & truth).sum() / (prediction.mask | truth).sum()
    assert prediction.mask.dtype == bool
    assert prediction.probability.dtype == np.float32
    assert overlap > 0.85
    assert prediction.foreground_fraction == prediction.mask.mean()


@pytest.mark.parametrize(("colour", "label"), [(DARK_RED, "benign"), (DARK_BLUE, "malignant")])
def test_label_and_scores(predictor, colour, label):
    prediction = predictor.predict(scene(colour=colour))
    assert prediction.label == label
    assert set(prediction.scores) == set(CLASSES)
    assert sum(prediction.scores.values()) == pytest.approx(1, abs=1e-6)


def test_one_and_many_paths_and_pixels_agree(predictor, tmp_path):
    pictures = [
        scene(),
        scene(64, 64, DARK_BLUE, np.s_[:32]),
        scene(colour=DARK_BLUE),
        scene(40, 70),
    ]
    paths = []
    for number, picture in enumerate(pictures):
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(picture).save(paths[-1])
    from_pixels = predictor.predict(pictures)
    assert [p.probability.shape for p in from_pixels] == [p.shape[:2] for p in pictures]
    for path, picture, together in zip(paths, pictures, from_pixels, strict=True):
        for alone in (predictor.predict(picture), predictor.predict(str(path))):
            assert np.allclose(alone.probability, together.probability, atol=1e-6)
            assert np.allclose(alone.probs, together.probs, atol=1e-6)


def test_an_empty_list_gives_an_empty_list(predictor):
    assert predictor.predict([]) == []


@pytest.mark.parametrize("size", [(1, 1), (1, 90), (31, 33), (200, 37)])
def test_any_size_comes_back_at_its_size(predictor, size):
    assert predictor.predict(scene(*size)).mask.shape == size


def test_the_size_policy_is_applied_and_undone(tmp_path):
    policy = SizePolicy(mode="longer-side", size=64)
    small = wsol_deploy.load(make_artifact(tmp_path / "m.onnx", size=policy), device="cpu")
    prediction = small.predict(scene(192, 256, where=np.s_[48:144, 80:192]))
    assert prediction.probability.shape == (192, 256)
    assert prediction.class_maps.shape[1:] == (48 // 8, 64 // 8)
    rows, columns = np.nonzero(prediction.mask)
    assert rows.mean() == pytest.approx(95.5, abs=2)
    assert columns.mean() == pytest.approx(135.5, abs=2)


def test_the_threshold_is_the_cards_unless_given(tmp_path):
    model = wsol_deploy.load(make_artifact(tmp_path / "m.onnx", threshold=0.8), device="cpu")
    by_card = model.predict(scene())
    assert by_card.threshold == 0.8
    assert np.array_equal(by_card.mask, by_card.probability > 0.8)
    assert model.predict(scene(), threshold=0.2).mask.sum() > by_card.mask.sum()


def test_only_the_outputs_wanted(artifact):
    masks = wsol_deploy.load(artifact, device="cpu", outputs=("mask",))
    assert masks.outputs == ("mask",)
    assert set(masks.run(scene()[None])) == {"mask"}
    prediction = masks.predict(scene())
    assert prediction.label is None
    assert prediction.scores is None
    assert prediction.trust is None
    with pytest.raises(ArtifactError, match="it has no output depth"):
        wsol_deploy.load(artifact, outputs=("mask", "depth"))
    with pytest.raises(ArtifactError, match="without its output mask"):
        wsol_deploy.load(artifact, device="cpu", outputs=("probs",)).predict(scene())


@pytest.mark.parametrize("wanted", [("mask",), ("class_maps",), ("probs", "localizer_probs")])
def test_outputs_not_wanted_are_not_computed(artifact, predictor, wanted, tmp_path):
    cut = keep_outputs(artifact.read_bytes(), wanted)
    assert output_names(cut) == [name for name in OUTPUTS if name in wanted]
    model = onnx.load_from_string(cut)
    onnx.checker.check_model(model)
    used = {name for node in model.graph.node for name in node.input} | set(wanted)
    assert all(set(node.output) & used for node in model.graph.node)
    assert {weight.name for weight in model.graph.initializer} <= used
    session = onnxruntime.InferenceSession(cut, providers=["CPUExecutionProvider"])
    every = predictor.run(scene()[None])
    for name, value in zip(
        wanted, session.run(list(wanted), {"image": scene()[None]}), strict=True
    ):
        assert np.array_equal(value, every[name])


def test_names_used_only_inside_a_branch_are_kept():
    text = """<ir_version: 8, opset_import: ["" : 18]>
    g (float[2] x, bool c) => (float[2] wanted, float[2] other) {
        captured = Exp(x)
        wanted = If (c) <
            then_branch = t () => (float[2] a) { a = Neg(captured) },
            else_branch = e () => (float[2] b) { b = Identity(captured) }
        >
        other = Sqrt(x)
    }"""
    model = onnx.parser.parse_model(text)
    cut = onnx.load_from_string(keep_outputs(model.SerializeToString(), ("wanted",)))
    onnx.checker.check_model(cut)
    assert [node.op_type for node in cut.graph.node] == ["Exp", "If"]


@pytest.mark.parametrize(
    "batch",
    [
        np.zeros((1, 64, 64, 3), np.float32),
        np.zeros((64, 64, 3), np.uint8),
        np.zeros((1, 3, 64, 64), np.uint8),
        np.zeros((1, 31, 64, 3), np.uint8),
    ],
)
def test_run_says_what_a_batch_is(predictor, batch):
    with pytest.raises(ImageError, match=r"this is"):
        predictor.run(batch)


@pytest.mark.parametrize("array", [np.zeros((9, 9), np.uint8), np.zeros((9, 9, 3), np.float32)])
def test_predict_says_what_an_image_is(predictor, array):
    with pytest.raises(ImageError, match="uint8 H x W x 3"):
        predictor.predict(array)


def test_an_image_too_large_for_one_pass_is_refused(predictor):
    side = int(MAX_GRAPH_PIXELS**0.5) + 1
    endless = np.broadcast_to(np.zeros(3, np.uint8), (side, side, 3))
    with pytest.raises(ImageError, match="cut it into smaller pieces"):
        predictor.predict(endless)


def test_a_sliver_does_not_explode(tmp_path):
    policy = SizePolicy(mode="shorter-side", size=512)
    model = wsol_deploy.load(make_artifact(tmp_path / "m.onnx", size=policy), device="cpu")
    with pytest.raises(ImageError, match="becomes"):
        model.predict(np.zeros((1, 30_000, 3), np.uint8))


def test_post_processing_is_off_by_default_and_exact():
    probability = np.zeros((20, 20), np.float32)
    probability[2:12, 2:12] = 0.9
    probability[5:7, 5:7] = 0.1
    probability[15, 15:18] = 0.9
    plain = PostProcess()(probability, 0.5)
    assert np.array_equal(plain, probability > 0.5)
    filled = PostProcess(fill_holes=True)(probability, 0.5)
    assert filled.sum() - plain.sum() == 4
    assert PostProcess(min_area=3)(probability, 0.5).sum() == plain.sum()
    assert PostProcess(min_area=4)(probability, 0.5).sum() == plain.sum() - 3
    assert not PostProcess(min_area=1000)(probability, 0.5).any()
    smooth = PostProcess(smooth=2.0)(probability, 0.5)
    assert not smooth[15].any()
    assert smooth[6, 6]


def test_a_hole_open_to_the_border_is_no_hole():
    probability = np.ones((8, 8), np.float32)
    probability[3:5, :4] = 0
    assert PostProcess(fill_holes=True)(probability, 0.5).sum() == 64 - 8


def test_entropy_is_normalised():
    assert entropy(np.array([1, 0, 0], np.float32)) == 0
    assert entropy(np.full(3, 1 / 3, np.float32)) == pytest.approx(1)
    assert entropy(np.array([1], np.float32)) == 0
    assert entropy(np.array([0.5, 0.5], np.float32), "multi-label") == pytest.approx(1)
    assert entropy(np.array([1.0, 0.0], np.float32), "multi-label") == 0
    expected = -(0.9 * np.log(0.9) + 0.1 * np.log(0.1)) / np.log(2)
    assert entropy(np.array([0.9, 0.1])) == pytest.approx(expected)


def test_trust_says_why_an_image_needs_a_look(tmp_path):
    def review(
        foreground_max: float, background_min: float, contrast_min: float = 0.0
    ) -> str | None:
        limits = Trust(
            foreground_entropy_max=foreground_max,
            background_entropy_min=background_min,
            mask_contrast_min=contrast_min,
        )
        path = make_artifact(tmp_path / "m.onnx", trust=limits)
        return wsol_deploy.load(path, device="cpu").predict(scene(colour=DARK_BLUE)).trust.review

    assert review(1.0, 0.0) is None
    assert review(0.0, 0.0) == "foreground undecided"
    background = "background still predicts malignant: the mask may be incomplete"
    assert review(1.0, 1.0) == background
    assert review(0.0, 1.0) == f"foreground undecided; {background}"
    assert review(1.0, 0.0, 1.0) == FAINT


def test_contrast_is_the_mean_inside_less_the_mean_outside():
    soft = np.array([[0.9, 0.7], [0.4, 0.0]], np.float32)
    assert contrast(soft, 0.5) == pytest.approx(0.8 - 0.2)
    assert contrast(soft, 0.3) == pytest.approx(2 / 3)
    assert contrast(soft, 0.95) == contrast(soft + 0.1, 0.05) == 1


def test_pictures(predictor, tmp_path):
    prediction = predictor.predict(scene())
    overlay = prediction.overlay()
    assert overlay.shape == (96, 128, 3)
    assert overlay.dtype == np.uint8
    for what, mode in (("mask", "L"), ("prob", "I;16"), ("overlay", "RGB"), ("cutout", "RGBA")):
        prediction.save(tmp_path / f"{what}.png", what)
        with Image.open(tmp_path / f"{what}.png") as picture:
            assert (picture.mode, picture.size) == (mode, (128, 96))
    with pytest.raises(WsolError, match="known: mask, prob"):
        prediction.save(tmp_path / "x.png", "depth")
    with pytest.raises(WsolError, match="64 x 64"):
        prediction.overlay(np.zeros((64, 64, 3), np.uint8))


def test_an_overlay_shows_which_side_the_foreground_is_on(predictor):
    prediction = predictor.predict(scene())
    mask = prediction.mask
    inside = cv2.erode(mask.astype(np.uint8), np.ones((7, 7))) > 0
    outside = cv2.dilate(mask.astype(np.uint8), np.ones((7, 7))) == 0
    assert inside.any() and outside.any()
    overlay = prediction.overlay()
    assert np.array_equal(overlay[inside], prediction.image[inside])
    darkened = prediction.image[outside].astype(int) / 2
    assert (abs(overlay[outside] - darkened) <= 1).all()


def test_heat_colours_do_not_stretch():
    """Equal values have equal colours, whatever else is in the picture."""
    gray = np.full((64, 64, 3), 128, np.uint8)
    low, high = np.full((64, 64), 0.2, np.float32), np.full((64, 64), 0.2, np.float32)
    high[:20] = 1.0
    assert np.array_equal(render.tint(gray, low)[40], render.tint(gray, high)[40])


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "cuda0", "mps"])
def test_unknown_devices_are_usage_errors(artifact, name):
    with pytest.raises(UsageError, match="known: auto, cpu, cuda"):
        wsol_deploy.load(artifact, device=name)


def test_cuda_that_cannot_be_had_is_an_error(artifact, monkeypatch):
    monkeypatch.setattr(devices, "gpus", lambda: 0)
    with pytest.raises(devices.DeviceError, match=r"--device cuda: .*driver"):
        wsol_deploy.load(artifact, device="cuda")
    assert wsol_deploy.load(artifact, device="auto").device == "cpu"


@pytest.mark.skipif(devices.gpus() > 0, reason="this machine has a GPU")
def test_a_gpu_without_its_libraries_never_ends_on_the_cpu_in_silence(
    artifact, monkeypatch, caplog
):
    monkeypatch.setattr(devices, "gpus", lambda: 1)
    with pytest.raises(devices.DeviceError, match=r"--device cuda:0: ONNX Runtime"):
        wsol_deploy.load(artifact, device="cuda")
    logger = logging.getLogger("wsol_deploy")
    logger.addHandler(caplog.handler)
    loaded = wsol_deploy.load(artifact, device="auto")
    logger.removeHandler(caplog.handler)
    assert "running on the CPU" in caplog.text
    assert loaded.device == "cpu"
    assert loaded.predict(scene()).mask.any()


@pytest.mark.skipif(devices.gpus() == 0, reason="this machine has no GPU")
def test_gpu_and_cpu_agree(artifact, predictor):
    on_gpu = wsol_deploy.load(artifact, device="cuda")
    assert on_gpu.device == "cuda:0"
    there, here = on_gpu.predict(scene()), predictor.predict(scene())
    assert np.abs(there.probability - here.probability).max() < 1e-4


def test_threads_do_not_change_the_result(artifact, predictor):
    one = wsol_deploy.load(artifact, device="cpu", threads=1).predict(scene())
    assert np.allclose(one.probability, predictor.predict(scene()).probability, atol=1e-6)


def test_the_runtime_needs_no_torch(artifact):
    code = (
        "import sys; sys.modules['torch'] = None; sys.modules['onnx'] = None\n"
        "import numpy, wsol_deploy, wsol_deploy.batch.run\n"
        f"p = wsol_deploy.load({str(artifact)!r}).predict(numpy.zeros((40, 40, 3), 'uint8'))\n"
        "print(p.mask.shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(40, 40)"

"""GPUs without a GPU: names, libraries, the engine cache; and real ones where one is."""

from __future__ import annotations

import logging

import numpy as np
import onnxruntime
import pytest
from artifacts import make_artifact
from test_runtime import scene

import wsol_deploy
from wsol_deploy.errors import UsageError
from wsol_deploy.runtime import devices, onnx_backend, tensorrt
from wsol_deploy.runtime.binding import run_bound

needs_gpu = pytest.mark.skipif(devices.gpus() == 0, reason="this machine has no GPU")


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    return make_artifact(tmp_path_factory.mktemp("gpu") / "model.onnx")


@pytest.fixture
def two_gpus(monkeypatch, tmp_path):
    monkeypatch.setattr(devices, "gpus", lambda: 2)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("auto", "cuda:0"),
        ("cuda", "cuda:0"),
        ("cuda:1", "cuda:1"),
        ("tensorrt", "tensorrt:0"),
        ("tensorrt:1", "tensorrt:1"),
    ],
)
def test_devices_by_name(two_gpus, asked, meant):
    assert devices.resolve(asked, tensorrt=True) == meant
    assert devices.index_of(meant) == int(meant[-1])


def test_a_gpu_that_is_not_there_is_named(two_gpus):
    with pytest.raises(devices.DeviceError, match="--device tensorrt:2: the driver shows only 2"):
        devices.resolve("tensorrt:2", tensorrt=True)
    with pytest.raises(UsageError, match=r"no such device; known: .* tensorrt:N"):
        devices.resolve("rocm", tensorrt=True)


def test_tensorrt_is_for_onnx_alone(two_gpus):
    with pytest.raises(UsageError, match=r"TensorRT runs \.onnx files alone; use --device cuda"):
        devices.resolve("tensorrt")


def test_each_model_has_a_folder_of_engines_of_its_own(two_gpus):
    one, other = tensorrt.cache_folder(b"one"), tensorrt.cache_folder(b"other")
    assert one != other and one.is_relative_to(two_gpus / "wsol-deploy" / "tensorrt")
    said = tensorrt.options(1, one)
    assert said["device_id"] == "1"
    assert said["trt_engine_cache_path"] == said["trt_timing_cache_path"] == str(one)


def test_a_long_build_is_announced_until_there_is_an_engine(two_gpus, caplog):
    folder = tensorrt.cache_folder(b"model")
    logger = logging.getLogger("wsol_deploy")
    logger.addHandler(caplog.handler)
    try:
        tensorrt.prepare(folder)
        assert "takes minutes" in caplog.text and str(folder) in caplog.text
        caplog.clear()
        (folder / "subgraph.engine").touch()
        tensorrt.prepare(folder)
        assert not caplog.text
    finally:
        logger.removeHandler(caplog.handler)


def test_options_are_those_that_this_onnxruntime_knows(artifact, tmp_path):
    """ONNX Runtime refuses an unknown option of a provider by its name, library or not."""
    known = onnxruntime.get_available_providers()
    if tensorrt.PROVIDER not in known:
        pytest.skip("this onnxruntime is built without TensorRT")
    library = onnx_backend_library()
    for name in tensorrt.options(0, tmp_path):
        assert name.encode() in library


def onnx_backend_library() -> bytes:
    from pathlib import Path

    folder = Path(onnxruntime.__file__).parent / "capi"
    files = [*folder.glob("*providers_tensorrt*"), *folder.glob("onnxruntime_pybind11_state*")]
    return b"".join(path.read_bytes() for path in files)


@pytest.mark.skipif(devices.gpus() > 0, reason="this machine has a GPU")
def test_without_its_library_tensorrt_never_ends_on_the_cpu(artifact, two_gpus):
    with pytest.raises(devices.DeviceError, match=r"--device tensorrt:0: .*pip install"):
        wsol_deploy.load(artifact, device="tensorrt")


class _Left:
    """A session in which ONNX Runtime left the wanted provider out without a word."""

    def __init__(self, *args, **kwargs) -> None: ...

    def get_providers(self) -> list[str]:
        return ["CPUExecutionProvider"]


def test_a_provider_left_out_in_silence_is_an_error(artifact, two_gpus, monkeypatch):
    monkeypatch.setattr(onnxruntime, "InferenceSession", _Left)
    monkeypatch.setattr(onnx_backend, "_load_cuda_libraries", lambda device: "")
    with pytest.raises(devices.DeviceError, match="cannot use the GPU: no CUDAExecutionProvider"):
        wsol_deploy.load(artifact, device="cuda")


class _Placed(_Left):
    """A session on the GPU, with the nodes that compute shapes on the CPU."""

    made: tuple = ()

    def __init__(self, model, options, providers) -> None:
        type(self).made = (options, providers)

    def get_providers(self) -> list[str]:
        return ["CUDAExecutionProvider", "CPUExecutionProvider"]


def test_nodes_of_shapes_may_stay_on_the_cpu(artifact, two_gpus, monkeypatch):
    """A graph of free sizes has some there, and a session without the CPU refuses it."""
    monkeypatch.setattr(onnxruntime, "InferenceSession", _Placed)
    monkeypatch.setattr(onnx_backend, "_load_cuda_libraries", lambda device: "")
    assert wsol_deploy.load(artifact, device="cuda:1").device == "cuda:1"
    options, ((name, chosen),) = _Placed.made
    assert (name, chosen["device_id"]) == ("CUDAExecutionProvider", "1")
    with pytest.raises(RuntimeError):
        options.get_session_config_entry("session.disable_cpu_ep_fallback")


def test_bound_outputs_are_those_of_a_plain_run(artifact):
    session = onnxruntime.InferenceSession(artifact, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    batch = np.stack([scene(), scene()[::-1]])
    plain = session.run(names, {"image": batch})
    for expected, found in zip(plain, run_bound(session, names, batch, "cpu"), strict=True):
        assert np.array_equal(expected, found)
    assert run_bound(session, names[:1], batch[:1], "cpu")[0].shape[0] == 1


@needs_gpu
@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
def test_a_gpu_gives_the_masks_of_the_cpu(artifact, device):
    provider = {"cuda": onnx_backend.CUDA, "tensorrt": tensorrt.PROVIDER}[device]
    if provider not in onnxruntime.get_available_providers():
        pytest.skip(f"this onnxruntime is built without {provider}")
    if device == "tensorrt" and (missing := tensorrt.load_libraries()):
        pytest.skip(missing)
    there = wsol_deploy.load(artifact, device=device)
    here = wsol_deploy.load(artifact, device="cpu").predict(scene())
    assert there.device == f"{device}:0"
    assert np.abs(there.predict(scene()).probability - here.probability).max() < 1e-3

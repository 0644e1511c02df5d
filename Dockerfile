# The demo in a container: CPU, no torch, no root.
#
#   docker build -t wsol-demo .
#   docker run --rm -p 127.0.0.1:7860:7860 -v "$PWD/model.onnx:/model.onnx:ro" wsol-demo
#
# With a password:  -e WSOL_DEMO_AUTH=user:password
FROM python:3.12-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY wsol_deploy wsol_deploy
COPY train train
COPY export export
COPY demo demo
# The package's own requirements, with onnxruntime without CUDA in place of the GPU build: the
# same API at a tenth of the size.
RUN python -m venv /venv \
 && python -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
needs = p['dependencies'] + p['optional-dependencies']['demo']; \
print(*{n.partition(';')[0].replace('onnxruntime-gpu', 'onnxruntime') for n in needs}, sep='\n')" \
    > requirements.txt \
 && /venv/bin/pip install --no-cache-dir -r requirements.txt \
 && /venv/bin/pip install --no-cache-dir --no-deps .

FROM python:3.12-slim
RUN useradd --create-home --uid 10001 wsol
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 GRADIO_ANALYTICS_ENABLED=False
USER wsol
WORKDIR /home/wsol
EXPOSE 7860
HEALTHCHECK --start-period=60s CMD \
  ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:7860/theme.css')"]
ENTRYPOINT ["wsol", "demo", "--host", "0.0.0.0", "--device", "cpu"]
CMD ["--model", "/model.onnx"]

# benchhydra on top of the project vLLM's own image, whose interpreter has vLLM and CUDA.
#   docker build -f containers/gpu.Dockerfile -t benchhydra:gpu .
#   docker run --rm --gpus all --ipc host -v "$PWD/outputs:/bench/outputs" benchhydra:gpu -m model=llama2 qps=1,5,10
# VLLM_VERSION: the build to measure, as a tag of vllm/vllm-openai. Never "latest": results must name what was measured.
ARG VLLM_VERSION=v0.11.0
FROM vllm/vllm-openai:${VLLM_VERSION}

USER 0
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY conf conf
COPY src src
# benchhydra has an environment of its own, so that installing it changes no package of vLLM. The image's own interpreter,
# which has vLLM, becomes the default of engine.python.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3-venv tini \
    && rm -rf /var/lib/apt/lists/* \
    && python3 -c 'import importlib.metadata as packages; packages.version("vllm")' \
    && python3 -m venv /opt/benchhydra \
    && /opt/benchhydra/bin/python -m pip install --no-cache-dir . \
    && sed -i "s|^python: null|python: $(command -v python3)|" \
        /opt/benchhydra/lib/python3*/site-packages/benchhydra/conf/engine/vllm.yaml \
    && useradd --create-home --uid 2000 bench \
    && mkdir -p /bench/outputs /cache \
    && chown -R bench:bench /bench /cache \
    && chmod 1777 /bench /bench/outputs /cache
ENV PATH=/opt/benchhydra/bin:$PATH \
    HOME=/cache \
    XDG_CACHE_HOME=/cache \
    HF_HOME=/cache/huggingface \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
WORKDIR /bench
USER 2000
VOLUME ["/bench/outputs", "/cache"]
# A benchmark ends by itself: its exit code says how it went, and there is no service to ask for its health.
HEALTHCHECK NONE
ENTRYPOINT ["tini", "--", "benchhydra"]
CMD ["--help"]

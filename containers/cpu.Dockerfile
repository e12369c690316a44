# benchhydra with vLLM for CPU, in the versions of requirements/cpu.lock.
#   docker build -f containers/cpu.Dockerfile -t benchhydra:cpu .
#   docker run --rm -v "$PWD/outputs:/bench/outputs" --user "$(id -u):$(id -g)" benchhydra:cpu model=tiny qps=2 num_prompts=20
FROM python:3.11.13-slim-bookworm AS build

SHELL ["/bin/bash", "-o", "pipefail", "-c"]
WORKDIR /src
# The lock first: this layer is built again only if it changes. --no-deps: the lock names every package.
COPY requirements/cpu.lock requirements/cpu.lock
RUN python -m venv /opt/benchhydra \
    && /opt/benchhydra/bin/python -m pip install --no-cache-dir --no-deps \
        --extra-index-url https://download.pytorch.org/whl/cpu --requirement requirements/cpu.lock
COPY pyproject.toml README.md LICENSE ./
COPY conf conf
COPY src src
RUN /opt/benchhydra/bin/python -m pip install --no-cache-dir --no-deps .

FROM python:3.11.13-slim-bookworm

# libnuma1 and libgomp1: vLLM for CPU loads them. tini: reaps the processes of engines, and passes signals on.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 libnuma1 tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 bench \
    && mkdir -p /bench/outputs /cache \
    && chown -R bench:bench /bench /cache \
    && chmod 1777 /bench /bench/outputs /cache
COPY --from=build /opt/benchhydra /opt/benchhydra
ENV PATH=/opt/benchhydra/bin:$PATH \
    HOME=/cache \
    XDG_CACHE_HOME=/cache \
    HF_HOME=/cache/huggingface
WORKDIR /bench
USER 1000
VOLUME ["/bench/outputs", "/cache"]
# A benchmark ends by itself: its exit code says how it went, and there is no service to ask for its health.
HEALTHCHECK NONE
ENTRYPOINT ["tini", "--", "benchhydra"]
CMD ["--help"]

# The image that every file in conf/launch/ starts. Build it in the project's root:
#
#     docker build -t feature-audit .                              # PyTorch for CPUs
#     docker build -t feature-audit --build-arg TORCH_INDEX= .     # PyTorch with CUDA, from the default package index
#
# The container runs `feature-audit`: docker run --rm feature-audit run --help
ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY pipeline pipeline
COPY selectors selectors
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:${PYTHON}-slim
ARG TORCH=2.13.0
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
# wget: KubeRay's probes call it. Its version follows the base image.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends wget && rm -rf /var/lib/apt/lists/*
# The version is pinned; hadolint takes the expansion for a package.
# hadolint ignore=DL3013
RUN pip install --no-cache-dir ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} "torch==${TORCH}"
# The wheel's version is this checkout's. ray[default]: KubeRay hands jobs to Ray's dashboard, which plain ray does not have.
# hadolint ignore=DL3013
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    pip install --no-cache-dir "$(echo /wheels/*.whl)[ray]" "ray[default]"
# MLflow looks for git to note a commit; the image has neither.
ENV GIT_PYTHON_REFRESH=quiet
RUN useradd --create-home --uid 10001 audit
# By number: Kubernetes' runAsNonRoot does not look names up.
USER 10001
WORKDIR /home/audit
ENTRYPOINT ["feature-audit"]
CMD ["--help"]

# Two images from one file:
#     docker build --target cpu -t semcoder .
#     docker run -it -p 127.0.0.1:8888:8888 semcoder                    # JupyterLab
#     docker run -it -v semcoder-runs:/semcoder/runs semcoder semcoder reproduce smoke
#     docker build --target gpu -t semcoder-gpu .
#     docker run -it --gpus all --shm-size 16g semcoder-gpu semcoder doctor
# Inside a container `semcoder doctor` shows which layers of the sandbox hold. The profile of Docker
# refuses namespaces, and with them the limit of all files together and the hiding of processes:
# `--security-opt seccomp=unconfined` allows them.

FROM python:3.11-slim-bookworm AS base
# gcc is for vLLM, which builds kernels; the versions are those of the image's distribution
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc git libc6-dev make \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 reader \
    && install --directory --owner=reader /semcoder /semcoder/runs
WORKDIR /semcoder
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
EXPOSE 8888

FROM base AS cpu
COPY requirements.lock ./
RUN pip install --extra-index-url https://download.pytorch.org/whl/cpu -r requirements.lock
COPY --chown=reader . .
RUN pip install --no-deps -e .
USER 1000
CMD ["jupyter", "lab", "nbs", "--ip=0.0.0.0", "--no-browser"]

# The wheels of torch and vLLM bring CUDA; the driver comes from the host (`--gpus all`).
FROM base AS gpu
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --chown=reader . .
RUN pip install -c .ci/versions.txt -e '.[vllm,notebooks,dev,seeds,openai]'
USER 1000
CMD ["semcoder", "doctor"]

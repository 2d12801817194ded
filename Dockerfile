# syntax=docker/dockerfile:1
# Hilum's service and PACS worker: the light install with the extras serve and pacs. Requirements: docs/docker.md.
ARG PYTHON=python:3.13-slim-trixie

# hadolint ignore=DL3006
FROM ${PYTHON} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN ["python", "-m", "venv", "/opt/hilum"]
WORKDIR /source
RUN ["/opt/hilum/bin/pip", "install", "pip==26.3"]
COPY constraints.txt requirements.lock pyproject.toml README.md LICENSE ./
COPY src src
RUN ["/opt/hilum/bin/pip", "install", "--no-require-hashes", \
     "-c", "constraints.txt", "-c", "requirements.lock", "--build-constraint", "requirements.lock", \
     ".[serve,pacs]"]

# hadolint ignore=DL3006
FROM ${PYTHON}
LABEL org.opencontainers.image.title="Hilum" \
      org.opencontainers.image.description="Research software for chest radiographs. Not a medical device." \
      org.opencontainers.image.licenses="Apache-2.0"
RUN ["useradd", "--uid", "10001", "--user-group", "--no-create-home", "--home-dir", "/data", "hilum"]
COPY --from=build /opt/hilum /opt/hilum
RUN ["install", "--directory", "--owner=10001", "--group=10001", "--mode=0700", "/data"]
# Only /data is written and, while films are decoded, /tmp.
ENV PATH=/opt/hilum/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 \
  CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
ENTRYPOINT ["hilum"]
CMD ["serve", "--host", "0.0.0.0", "--allow-host", "localhost", "--data", "/data"]

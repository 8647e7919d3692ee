# Build with `make image`. The result runs as 10001:10001, or as any user of group 0 (OpenShift), with a read-only root;
# /var/lib/predictor, where predictions are logged before they are answered, is the one writable place.
ARG PYTHON_IMAGE=docker.io/library/python:3.13-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
# Which lock it is filled from: `log` has rich and pyarrow too, for `predictor log export` to Parquet.
ARG LOCK=runtime
WORKDIR /src
# pip stays outside of the environment that it fills, and is the one that the locks were tried with.
# Wheels only: there is no compiler.
RUN python -m venv --without-pip /opt/predictor
COPY requirements/pip.txt requirements/${LOCK}.txt requirements/
RUN python -m pip install --no-cache-dir --disable-pip-version-check --root-user-action ignore \
      --require-hashes --requirement requirements/pip.txt \
 && python -m pip --python /opt/predictor/bin/python install --no-cache-dir --no-compile --disable-pip-version-check \
      --require-hashes --only-binary :all: --requirement requirements/${LOCK}.txt
COPY pyproject.toml LICENSE ./
COPY predictor predictor
# The build backend has done its work then. Bytecode is made here, since the root is read-only later;
# it is never compared with its source, which cannot change.
RUN python -m pip --python /opt/predictor/bin/python install --no-cache-dir --no-compile --disable-pip-version-check \
      --no-deps --no-build-isolation . \
 && python -m pip --python /opt/predictor/bin/python uninstall --yes --quiet flit-core \
 && /opt/predictor/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/predictor/lib

FROM ${PYTHON_IMAGE}
ARG VERSION=unknown
ARG REVISION=unknown
ARG SOURCE=unknown
LABEL org.opencontainers.image.title="prediction-log-server" \
      org.opencontainers.image.description="A prediction server whose prediction log can be trusted: acknowledged means logged" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# Nothing that installs more is left, also not beside the environment.
# The base comes without bytecode of the standard library: made here, it saves that work at every start.
RUN python -m pip uninstall --yes --quiet --root-user-action ignore setuptools wheel pip \
 && rm -rf "$(python -c 'import ensurepip; print(ensurepip.__path__[0])')" /root/.cache \
 && python -m compileall -q -j 0 --invalidation-mode unchecked-hash "$(python -c 'import os; print(os.path.dirname(os.__file__))')" \
 && groupadd --gid 10001 predictor \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin predictor \
 && install -d -o 10001 -g 0 -m 2770 /var/lib/predictor
COPY --from=build /opt/predictor /opt/predictor
COPY predictor/demo/iris /srv/models/iris
# Whatever umask the sources were fetched with.
RUN chmod -R u=rwX,go=rX /srv/models
# ONNX Runtime would report usage to its maker.
ENV PATH=/opt/predictor/bin:$PATH \
    ORT_DISABLE_TELEMETRY=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PREDICTOR_HOST=0.0.0.0 \
    PREDICTOR_MODEL=/srv/models/iris \
    PREDICTOR_OUTBOX=/var/lib/predictor
WORKDIR /srv
VOLUME /var/lib/predictor
EXPOSE 8000
# The number, not the name: Kubernetes can then see that it is not root.
USER 10001:10001
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=3s --start-period=30s \
  CMD ["predictor", "healthcheck"]
ENTRYPOINT ["predictor"]

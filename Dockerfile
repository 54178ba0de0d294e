# omp-server with the embedded store and Postgres. Build: docker build -t omp-server .
FROM python:3.13-slim AS build
WORKDIR /build
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
RUN python -m venv /opt/openmem && /opt/openmem/bin/pip install --no-cache-dir ".[server,postgres,cli,otel]"

FROM python:3.13-slim
COPY --from=build /opt/openmem /opt/openmem
RUN groupadd --gid 10001 omp && useradd --uid 10001 --gid omp --home-dir /nonexistent --shell /usr/sbin/nologin omp \
    && install -d -o omp -g omp -m 700 /data
# The store is /data/openmem/memories.db, and the keys are next to it.
ENV PATH=/opt/openmem/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    XDG_DATA_HOME=/data \
    OMP_HOST=0.0.0.0 \
    OMP_PORT=8080
# A number, so that Kubernetes can tell that it is not root.
USER 10001:10001
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
# Being alive needs no database: a restart would not bring it back.
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:' + os.environ['OMP_PORT'] + '/health/live', timeout=2)"]
# There must be a key before the server listens to others:
#   docker run --rm -v omp-data:/data omp-server omp keys create --app NAME --user '*' --grant 'admin:*'
#   docker run -d -p 127.0.0.1:8080:8080 -v omp-data:/data omp-server
CMD ["omp-server"]

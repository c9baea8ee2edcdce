# headstart serve, from the wheel:
#   docker build -t headstart .
#   docker run --read-only --tmpfs /tmp -p 127.0.0.1:8000:8000 -e HEADSTART_TOKEN -v ./runs/dogs:/run/classifier:ro headstart
# Without HEADSTART_TOKEN a new token is printed at each start: docker logs shows it.
FROM python:3.12-slim AS wheel
WORKDIR /source
COPY pyproject.toml README.md LICENSE CHANGELOG.md ./
COPY src src
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.12-slim
# torch and OpenVINO load libgomp.
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/*
# For torch without the libraries of CUDA, which are most of the image, name torch's index of CPU wheels:
#   docker build --build-arg PIP_EXTRA_INDEX_URL=...
ARG PIP_EXTRA_INDEX_URL=
COPY --from=wheel /wheels /wheels
RUN pip install --no-cache-dir "$(echo /wheels/*.whl)[serve]" && rm -r /wheels
RUN useradd --system --uid 10001 --no-create-home headstart
USER 10001
# Converted networks and the temporary files of uploads.
ENV HEADSTART_CACHE=/tmp/headstart PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --start-period=60s --interval=15s CMD ["python", "-c", \
    "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/readyz', timeout=5)"]
ENTRYPOINT ["headstart", "serve", "--host", "0.0.0.0"]
CMD ["/run/classifier"]

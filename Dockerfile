# The image of the wheel: what Airflow's workers run stages in.    docker build --build-arg ACCEL=cuda -t thumbwheel-wheel .
# The chat's and the engine's image is made from the Bento:        bentoml containerize thumbwheel_chat:TAG
FROM python:3.11-slim AS build
ARG ACCEL=cpu
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ git \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /app
COPY . .
RUN bash requirements/setup.sh "$ACCEL" .venv && rm -rf /root/.cache

FROM python:3.11-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ git \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 1034 wheel-user \
    && useradd --uid 1034 --gid 1034 --create-home wheel-user \
    && install --directory --owner 1034 --group 1034 /app /var/lib/thumbwheel
COPY --from=build --chown=1034:1034 /app /app
WORKDIR /app
ENV PATH=/app/.venv/bin:$PATH \
    PYTHONPATH=/app \
    THUMBWHEEL_STATE=/var/lib/thumbwheel
USER 1034:1034
ENTRYPOINT ["python", "-m"]
CMD ["thumbwheel.turn", "--approve", "ask"]

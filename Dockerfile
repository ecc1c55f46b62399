# dataflow as a small image: built with the Swift toolchain, run on plain Debian by a user without rights.
#
#   docker build -t dataflow .
#   docker run --rm -v "$PWD/pipelines:/pipelines:ro" dataflow validate /pipelines/openfood.yaml

FROM swift:6.2-bookworm AS build
WORKDIR /src
# Only what the program links: the packages of scripts/bootstrap.sh include servers for the tests.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends \
        pkg-config libcurl4-openssl-dev libpq-dev librdkafka-dev libre2-dev libsimdjson-dev libsqlite3-dev \
        libyaml-dev zlib1g-dev \
    && rm -rf /var/lib/apt/lists/*
COPY . .
# As `make build` does, the program alone.
RUN swift build --configuration release --static-swift-stdlib -Xswiftc -enforce-exclusivity=unchecked \
        --product dataflow \
    && install -D --strip "$(swift build --configuration release --show-bin-path)/dataflow" /out/dataflow

FROM debian:bookworm-slim
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends \
        ca-certificates libcurl4 libpq5 librdkafka1 libre2-9 libsimdjson14 libsqlite3-0 libstdc++6 libyaml-0-2 \
        zlib1g \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin dataflow \
    && install --directory --owner dataflow --group dataflow --mode 700 /var/lib/dataflow
COPY --from=build /out/dataflow /usr/local/bin/dataflow
COPY pipelines /pipelines
USER 10001:10001
# Checkpoints, epoch logs, and the log of accepted requests: as dear as the tables.
ENV CHECKPOINT_PATH=/var/lib/dataflow
VOLUME ["/var/lib/dataflow"]
WORKDIR /var/lib/dataflow
# SIGTERM stops at a checkpoint.
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/dataflow"]
CMD ["--help"]

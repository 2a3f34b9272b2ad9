# syntax=docker/dockerfile:1
#
#   docker build -t nexum .
#   docker run --rm -p 1883:1883 -p 8083:8083 -v nexum:/var/lib/nexum nexum --set auth.anonymous=true
#
# Its listeners are open to the network, so the broker wants to be told who may come in: everybody, as
# above, or who has a password: --set auth.password_file=passwords, in the volume.
#
# Not part of the tests, which run without a Docker engine.

FROM rust:1.95-slim-bookworm AS build
# aws-lc-rs is C.
RUN apt-get update \
    && apt-get install -y --no-install-recommends build-essential cmake \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/source/target \
    cargo build --release --locked -p nexum && cp target/release/nexum /nexum

FROM debian:bookworm-slim
RUN useradd --system --home-dir /var/lib/nexum --create-home nexum
COPY --from=build /nexum /usr/local/bin/nexum
USER nexum
WORKDIR /var/lib/nexum
VOLUME /var/lib/nexum
EXPOSE 1883 8083 8080
# SIGTERM is what it drains on, so it must be the process that gets it.
STOPSIGNAL SIGTERM
ENTRYPOINT ["nexum", "--data-dir", "/var/lib/nexum", \
    "--listen", "tcp://0.0.0.0:1883", "--listen", "ws://0.0.0.0:8083/mqtt"]

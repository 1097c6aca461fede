# syntax=docker/dockerfile:1
FROM rust:1.95-bookworm AS build
WORKDIR /build
COPY . .
# The caches keep downloads and compiled dependencies between builds, outside the image; the binary
# is copied out because a cache is gone after its step.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --profile dist --locked --bin marketplace-sync \
    && cp target/dist/marketplace-sync /usr/local/bin/

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin app \
    && install --directory --owner=app --group=app /data
COPY --from=build /usr/local/bin/marketplace-sync /usr/local/bin/

USER app
# The SQLite file of the embedded profile; unused with PostgreSQL.
VOLUME /data
ENV DATABASE_URL=sqlite:/data/marketplace-sync.db \
    HOST=0.0.0.0 \
    ADMIN_HOST=0.0.0.0
# The API, and the admin listener (board, metrics).
EXPOSE 3000 3001
STOPSIGNAL SIGTERM
# Asked with what the base image has: there is no curl in it.
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/${PORT:-3000} && printf 'GET /health/ready HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n' >&3 && read -r _ status _ <&3 && [[ $status == 200 ]]"]
ENTRYPOINT ["marketplace-sync"]

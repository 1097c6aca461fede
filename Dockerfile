# syntax=docker/dockerfile:1
# The same commit makes the same binary, here and by `scripts/dist` elsewhere: one toolchain, the
# versions of Cargo.lock, no time and no path of the build in it. For an image that is the same to
# the byte, pin both bases by their digest, all that it has beside the binary
# (--build-arg BUILD_IMAGE=rust@sha256:… --build-arg BASE_IMAGE=debian@sha256:…), and build with
# --build-arg SOURCE_DATE_EPOCH=$(git log -1 --format=%ct) and --output type=image,rewrite-timestamp=true.
ARG BUILD_IMAGE=rust:1.95-bookworm
ARG BASE_IMAGE=debian:bookworm-slim
FROM ${BUILD_IMAGE} AS build
WORKDIR /build
COPY . .
# The caches keep downloads and compiled dependencies between builds, outside the image; the binary
# is copied out because a cache is gone after its step.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    scripts/dist \
    && cp target/dist/marketplace-sync /usr/local/bin/

FROM ${BASE_IMAGE}
# An account has the day of its making in it.
ARG SOURCE_DATE_EPOCH
RUN useradd --uid 10001 --no-create-home --no-log-init --shell /usr/sbin/nologin app \
    && install --directory --owner=app --group=app /data
# The authorities that HTTPS trusts; slim has none.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /usr/local/bin/marketplace-sync /usr/local/bin/

# The user app, as a number: from a name nobody outside can tell that it is not root.
USER 10001:10001
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

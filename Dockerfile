# The operator's image: one static binary, no shell, no package manager, not root.
#
#   docker build -t REGISTRY/awsiam:VERSION --build-arg VERSION=… --build-arg REVISION=$(git rev-parse HEAD) .
#   docker build … --build-context binary=FOLDER .     with a binary that is built already
#   docker buildx build … --platform linux/amd64,linux/arm64 --push .
#       for both architectures: each binary is built on its own one, by a builder that has such a node, or by emulation (slow)
#
# The control plane's nodes pull it, too: it is the probe beside the authenticator.

FROM rust:1.95.0-bookworm AS build
# The commit, which --version says: the context has no .git.
ARG REVISION=unknown
ENV AWSIAM_COMMIT=$REVISION
WORKDIR /src
COPY . .
RUN cargo rustc --locked --release -p awsiam -- -C target-feature=+crt-static \
  && install -D target/release/awsiam /out/awsiam

FROM scratch AS binary
COPY --from=build /out/awsiam /awsiam

FROM scratch
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="awsiam" \
  org.opencontainers.image.description="Says who may log in to a Kubernetes cluster with an AWS identity, and keeps it so" \
  org.opencontainers.image.licenses="Apache-2.0" \
  org.opencontainers.image.version="$VERSION" \
  org.opencontainers.image.revision="$REVISION" \
  org.opencontainers.image.source="https://github.com/awsiam/awsiam"
COPY --from=binary /awsiam /awsiam
USER 65532:65532
ENTRYPOINT ["/awsiam"]

# Source, consumer and one-shot commands are one image; the command says which.
FROM python:3.11-slim AS build
WORKDIR /build
RUN python -m venv /opt/ledger
COPY requirements-runtime.lock ./
RUN /opt/ledger/bin/pip install --no-cache-dir --require-hashes -r requirements-runtime.lock
COPY pyproject.toml README.md LICENSE ./
COPY schemas schemas
COPY cdc cdc
COPY consumers consumers
RUN /opt/ledger/bin/pip install --no-cache-dir --no-deps .

FROM python:3.11-slim
RUN groupadd --gid 10001 ledger \
    && useradd --uid 10001 --gid ledger --no-create-home --shell /usr/sbin/nologin ledger
COPY --from=build /opt/ledger /opt/ledger
ENV PATH=/opt/ledger/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /tmp
ENTRYPOINT ["cdc"]
CMD ["--help"]

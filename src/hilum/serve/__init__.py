"""The HTTP service ``hilum serve``: it analyses films and keeps the results. Needs the extra `serve`."""

from hilum.extras import needs

needs(
    "the service",
    "serve",
    "fastapi",
    "uvicorn",
    "sqlalchemy",
    "alembic",
    "prometheus_client",
    "python_multipart",
)

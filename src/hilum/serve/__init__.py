"""The HTTP service, ``hilum serve``: films in, results out, kept in a database. Needs the extra `serve`."""

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

"""The HTTP service, ``hilum serve``: films in, results out, kept in a database. Needs the extra `serve`."""

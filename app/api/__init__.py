"""The REST API: Lago's routes, bodies and codes over `app.meter`."""

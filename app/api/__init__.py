"""The REST API: Lago's routes, bodies and codes over the port in `meter`."""

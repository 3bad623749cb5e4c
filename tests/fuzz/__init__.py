"""Any bytes to everything that reads what others write: hypothesis here, atheris in `make fuzz`."""

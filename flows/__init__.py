"""One file per automation workflow: its default definition and its Prefect flow."""

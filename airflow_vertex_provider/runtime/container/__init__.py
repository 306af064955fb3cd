"""The container's side in modules; what it does: :mod:`airflow_vertex_provider.runtime.entrypoint`."""

"""Running again only what failed: see :mod:`airflow_vertex_provider.reruns.decision`."""

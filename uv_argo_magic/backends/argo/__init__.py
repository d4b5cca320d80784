"""The argo backend: runs programs in pods, with an unmodified Argo Workflows."""

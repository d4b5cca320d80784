"""The argo backend: programs run in pods, as a stock Argo Workflows runs them."""

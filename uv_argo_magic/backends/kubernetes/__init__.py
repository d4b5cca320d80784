"""Pods of a Kubernetes cluster: a client, logs, images, volumes, and explanations of errors."""

"""Pods of a Kubernetes cluster, without Argo: a client, logs, images, and explanations of problems."""

"""The manifests of workflows: ours, those by a template, and the templates themselves."""

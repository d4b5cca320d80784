"""The manifests of Workflows, with and without a template, and of the templates."""

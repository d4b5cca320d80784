"""What tests share: servers, a fake engine, a JupyterLab to drive."""

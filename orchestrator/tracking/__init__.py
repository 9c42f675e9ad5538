"""Experiment tracking: `mlflow.Tracker` opens a run per command, and logs a child run per concept.

`mlflow` is the only module that imports MLflow; its `ParentRun` is a `runs.Listener`.
"""

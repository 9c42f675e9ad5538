"""Report: what recordings and studies say, for people to look at; no torch, no Ray, no MLflow.

`console` holds tables and progress bars, `figures` pictures, `html` self-contained pages.
"""

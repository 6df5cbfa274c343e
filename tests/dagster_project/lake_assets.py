"""The demo's datasets as jobs and sensors take them."""

from tierlake.dagster_project.demo import datasets

DATASETS = {name: dataset.lake_asset() for name, dataset in datasets.DATASETS.items()}
FLIGHTS, WEATHER, DEPARTURES = DATASETS["flights"], DATASETS["weather"], DATASETS["departures"]
MONTHLY_SUMMARY = DATASETS["monthly_summary"]

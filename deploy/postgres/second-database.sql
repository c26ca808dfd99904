-- MLflow's database beside ours: their migrations must not share one.
CREATE DATABASE mlflow;

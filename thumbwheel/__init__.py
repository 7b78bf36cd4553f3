"""The kernel that the stages, the evaluation, the service and the DAGs share."""

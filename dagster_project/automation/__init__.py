"""What runs by itself or by a click: jobs, sensors, checks, alerts, reconciliation."""

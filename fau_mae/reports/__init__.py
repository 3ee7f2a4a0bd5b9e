"""What people look at: the report page, tables, figures, W&B curves and dashboards."""

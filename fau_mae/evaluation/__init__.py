"""From stored predictions to tables, intervals and the report; no model is needed here."""

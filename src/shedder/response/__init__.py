"""Help for the people who answer an incident: checklist, mitigations, plan."""

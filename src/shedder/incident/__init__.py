"""An incident: a period with a commander, roles, notes, updates and actions, kept in one record.

Reading: `records.Incident` is plain and frozen. `Shedder.incidents.current()` gives the one
that is open, `read(id)` any, `list()` the last ones.

Changing: a change is a pure function from an incident to the next, `replace(incident, ...)`
and the like, with `records.NOW` wherever the server's clock is to be written. `Incidents.change`
reads the record, calls the function, and sends both the new record and its event in one script,
which refuses when somebody else was faster; then it reads and calls the function again. A
new field of a record has a default, so that a record from before is read.
"""

"""The document in which a team learns from an incident, made of what was recorded meanwhile.

`compute.postmortem_of` makes the facts, `writing.write_postmortem` the files, and
`blame.warnings_of` reads what people have written into it.
"""

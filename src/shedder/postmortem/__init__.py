"""The document in which a team learns from an incident, made of what was recorded meanwhile.

`build.postmortem_of` makes the facts, `writing.write_files` the files, and
`shedder.incident.blame` reads what people have written into it.
"""

"""Telling others of an incident, on time: updates, reminders, channels, and a status page.

`posting.post_update` posts one update; `watcher.Watcher` sees to it that one is posted in time.
"""

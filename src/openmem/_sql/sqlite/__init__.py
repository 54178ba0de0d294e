"""The embedded store in SQL: its schema, and one file of steps per kind of verb.

Times are integers: microseconds since 1970 in UTC. A row's `rid` is `user_no << 32 | seq`, so that all rows of a
user are one contiguous range in every table, and the work of a verb depends on its user's rows only.
"""

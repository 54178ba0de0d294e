"""The rules of the verbs: drafts, changes, supersession, versions, pages."""

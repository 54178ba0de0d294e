"""The text of SQL statements and the steps of transactions. Nothing here runs them."""

"""Heat: which functions of an application really run, and what is done about the cold ones."""

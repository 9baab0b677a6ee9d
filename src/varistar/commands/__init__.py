"""The jobs of the command line, one thin command each. What a command needs is imported when it runs."""

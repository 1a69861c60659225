"""The workbench that judges clips of any model: by people, and by measurements."""

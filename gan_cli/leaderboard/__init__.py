"""The honest table: runs grouped into methods over seeds, methods into tables of one protocol each."""

"""Dynamic providers: one file per kind of thing on a host."""

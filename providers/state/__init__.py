"""Pure functions: what a file, a package set or a plan would look like. No I/O, no Pulumi."""

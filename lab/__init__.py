"""What the make targets do: the embedded testbed and the `pulumi` command, put together."""

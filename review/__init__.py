"""What a planned change means to people: who is affected, how badly, and what asks for a reason. Pure.

It reads plans and states of Pulumi as JSON; it knows no connection, no engine and no file.
"""

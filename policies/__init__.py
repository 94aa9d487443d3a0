"""What must not be in a lab: the rules, and the policy pack that enforces them."""

"""One audit from log to recommendation, and what a person does with it afterwards."""

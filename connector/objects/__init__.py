"""What can be done with objects, a verb a file."""

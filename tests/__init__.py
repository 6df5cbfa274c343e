"""Tests. They mirror the modules; `servers/` has the rigs, `faults/` what breaks between client and server."""

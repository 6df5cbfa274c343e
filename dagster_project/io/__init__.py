"""What the IO manager loads and stores."""

"""One request, from call to answer: credentials, options, retries, lost replies, errors."""

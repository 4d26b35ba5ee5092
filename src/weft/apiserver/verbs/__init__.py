"""One verb a file; each takes `(api, request, ...)` and returns objects or raises ApiError."""

//! The HTTP client of the client commands: where the server is, and how its problems are shown.

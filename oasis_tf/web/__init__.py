"""The demo's server and, in `page/`, what it shows in the browser."""

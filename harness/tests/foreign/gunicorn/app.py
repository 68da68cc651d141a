"""A WSGI application that takes its time, for gunicorn."""

import time


def app(environ, start_response):
    time.sleep(0.1 if environ["PATH_INFO"] == "/slow" else 0.005)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "9")])
    return [b"gunicorn\n"]

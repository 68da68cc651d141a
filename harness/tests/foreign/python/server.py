"""Python's own HTTP server, which dies at once on SIGTERM.

As PID 1 without a handler it would ignore SIGTERM and be killed at the end of its grace.
"""

import os
import signal
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


SECONDS = {"/slow": 0.1, "/slower": 0.6}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body in one segment, so that no answer waits for a delayed acknowledgement.
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_GET(self):
        time.sleep(SECONDS.get(self.path, 0.005))
        body = b"python\n"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


class Server(ThreadingHTTPServer):
    # The default of 5 would drop connections in any burst, which is another fault than the one shown.
    request_queue_size = 128


signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
# A pod's address on `local`, else any on port 8080.
address = (os.environ.get("HOST", ""), int(os.environ.get("PORT", "8080")))
Server(address, Handler).serve_forever()

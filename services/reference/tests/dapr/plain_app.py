"""A Dapr application that knows Dapr's HTTP API and nothing else: what another language's service is.

Arguments: its own port, its sidecar's HTTP port, the component, the topic. It prints every event that it is brought as
a line of JSON, and publishes what it is given as lines of JSON on its input: {"contentType", "body"}.
"""

import json
import sys
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

port, sidecar, pubsub, topic = sys.argv[1:5]


class App(BaseHTTPRequestHandler):
    def do_GET(self):
        subscriptions = [{"pubsubname": pubsub, "topic": topic, "route": "/events"}]
        self.answer(subscriptions if self.path == "/dapr/subscribe" else {})

    def do_POST(self):
        event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        print(json.dumps(event), flush=True)
        self.answer({"status": "SUCCESS"})

    def answer(self, value):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", int(port)), App)
threading.Thread(target=server.serve_forever, daemon=True).start()
for line in sys.stdin:
    given = json.loads(line)
    url = f"http://127.0.0.1:{sidecar}/v1.0/publish/{pubsub}/{topic}"
    body = json.dumps(given["body"]).encode()
    request = urllib.request.Request(url, body, {"Content-Type": given["contentType"]})
    urllib.request.urlopen(request).read()

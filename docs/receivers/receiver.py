# WEBHOOK_SECRET=whsec_… PORT=8080 python3 receiver.py
import base64, hashlib, hmac, http.server, json, os, time

KEY = base64.b64decode(os.environ["WEBHOOK_SECRET"].removeprefix("whsec_"))
done = set()  # keep it where the work is done, and write both in one transaction

def is_genuine(message, sent_at, signatures, body):
    if not sent_at.isdecimal() or not abs(time.time() - float(sent_at)) <= 300:
        return False  # older than five minutes
    signed = hmac.digest(KEY, f"{message}.{sent_at}.".encode() + body, hashlib.sha256)
    expected = b"v1," + base64.b64encode(signed)
    # While the secret is rotated there are two signatures.
    return any(hmac.compare_digest(expected, one) for one in signatures.encode().split(b" "))

class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        message = self.headers.get("webhook-id", "")
        stated = [self.headers.get(f"webhook-{name}", "") for name in ("timestamp", "signature")]
        genuine = is_genuine(message, *stated, body)
        if genuine and message not in done:
            print(json.loads(body)["type"], flush=True)
            done.add(message)
        self.send_response(200 if genuine else 401)
        self.end_headers()

server = http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Receiver)
print(f"port {server.server_port}", flush=True)
server.serve_forever()

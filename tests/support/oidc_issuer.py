"""A small OpenID Connect issuer that says whatever the test lets it say, over real HTTP."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

CLIENT_ID, CLIENT_SECRET = "thermacell-web", "issuer-canary-secret"


class Issuer:
    """Answers discovery, authorization, token, keys and user info; a context manager."""

    def __init__(self) -> None:
        self.claims: dict[str, Any] = {}
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.pkce: list[str] = []
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path, query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
                if path == "/authorize":
                    issuer.pkce += query.get("code_challenge_method", [])
                    back = urlencode({"code": "a-code", "state": query["state"][0]})
                    self.send_response(302)
                    self.send_header("Location", f"{query['redirect_uri'][0]}?{back}")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self._say(
                    {
                        "/.well-known/openid-configuration": issuer.configuration(),
                        "/userinfo": issuer.claims,
                        "/keys": {"keys": [issuer.public_key()]},
                    }[path]
                )

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                now = int(time.time())
                id_claims = issuer.claims | {
                    "iss": issuer.url,
                    "aud": CLIENT_ID,
                    "iat": now,
                    "exp": now + 300,
                }
                token = jwt.encode(id_claims, issuer.key, "RS256", headers={"kid": "k"})
                self._say({"access_token": "t", "token_type": "Bearer", "id_token": token})

            def _say(self, what: dict[str, Any]) -> None:
                body = json.dumps(what).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def configuration(self) -> dict[str, Any]:
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "userinfo_endpoint": f"{self.url}/userinfo",
            "jwks_uri": f"{self.url}/keys",
            "token_endpoint_auth_methods_supported": ["client_secret_post"],
        }

    def public_key(self) -> dict[str, Any]:
        public: dict[str, Any] = jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key(), True)
        return public | {"kid": "k", "alg": "RS256", "use": "sig"}

    def __enter__(self) -> Self:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

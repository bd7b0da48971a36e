"""The configurations for proxies in docs/proxy, in real ones from Debian's packages."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from tests.conftest import LEFT_OUT
from tests.support.certificates import Authority
from tests.support.product import ROOT, free_port
from tests.support.started import Started, eventually

PROXY = ROOT / "docs" / "proxy"
pytestmark = [pytest.mark.processes, pytest.mark.filterwarnings("ignore::Warning")]


@contextmanager
def running(*command: str, **environment: str) -> Iterator[None]:
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) as process:
        try:
            yield
        finally:
            process.terminate()


def nginx(folder: Path, port: int, web_port: int) -> tuple[list[str], dict[str, str]]:
    certificate, key = Authority().issue("localhost")
    (folder / "cert.pem").write_text(certificate)
    (folder / "key.pem").write_text(key)
    site = (PROXY / "nginx.conf").read_text()
    for old, new in (
        ("127.0.0.1:8000", f"127.0.0.1:{web_port}"),
        ("listen 80;", f"listen 127.0.0.1:{free_port()};"),
        ("listen 443 ", f"listen 127.0.0.1:{port} "),
        ("hubs.example.org;", "localhost;"),
        ("/etc/letsencrypt/live/hubs.example.org/fullchain.pem", f"{folder}/cert.pem"),
        ("/etc/letsencrypt/live/hubs.example.org/privkey.pem", f"{folder}/key.pem"),
    ):
        assert old in site
        site = site.replace(old, new)
    places = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{name}_temp_path {folder}/{name};\n" for name in places)
    whole = f"daemon off;\npid {folder}/pid;\nerror_log stderr;\nevents {{}}\n"
    whole += f"http {{\naccess_log off;\n{temporary}{site}}}\n"
    (folder / "nginx.conf").write_text(whole)
    return ["nginx", "-c", str(folder / "nginx.conf")], {"PATH": "/usr/sbin:/usr/bin:/bin"}


def caddy(folder: Path, port: int, web_port: int) -> tuple[list[str], dict[str, str]]:
    # a certificate of its own authority, and no other ports than these
    options = f"{{\n\tadmin off\n\thttp_port {free_port()}\n\tskip_install_trust\n}}\n"
    (folder / "Caddyfile").write_text(options + (PROXY / "Caddyfile").read_text())
    environment = {"PUBLIC_HOST": f"localhost:{port}", "WEB_HOST": "127.0.0.1"}
    environment |= {"WEB_PORT": str(web_port), "HOME": str(folder), "PATH": "/usr/bin:/bin"}
    return ["caddy", "run", "--config", str(folder / "Caddyfile")], environment


PROXIES = {"nginx": nginx, "caddy": caddy}


@pytest.mark.parametrize("proxy", PROXIES)
def test_people_come_in_by_https_and_are_known_by_their_own_address(
    proxy: str, tmp_path: Path
) -> None:
    if shutil.which(proxy, path="/usr/sbin:/usr/bin") is None:
        pytest.skip(f"{LEFT_OUT}Nothing tried docs/proxy with {proxy}: it is not installed.")
    port = free_port()
    product = Started(tmp_path / "data", demo=False)
    product.environment |= {"PUBLIC_URL": f"https://localhost:{port}", "BEHIND_PROXY": "true"}
    command, environment = PROXIES[proxy](tmp_path, port, product.port)
    url = f"https://localhost:{port}/"

    def ask(path: str = "") -> requests.Response:
        with requests.Session() as browser:
            # a bundle that the environment names would be asked all the same
            browser.verify = browser.trust_env = False
            claimed = {"X-Forwarded-For": "192.0.2.99"}
            return browser.get(url + path, headers=claimed, timeout=20)

    def is_there() -> bool:
        try:
            return ask().status_code == 200
        except requests.ConnectionError:
            return False

    with product, running(*command, **environment):
        eventually(is_there, 60)
        answer = ask()
        assert answer.url == f"{url}account/login/?next=%2F"
        assert "max-age=" in answer.headers["Strict-Transport-Security"]
        assert all(cookie.secure for cookie in answer.cookies)
        number = answer.headers["X-Request-ID"]

        def lines() -> list[str]:
            log = (product.data_dir / "log" / "web.log").read_text()
            return [one for one in log.splitlines() if f"[request={number}]" in one]

        eventually(lines, 10)  # written after the answer has left
        [line] = lines()
        assert " 127.0.0.1 " in line  # what the caller claims about itself does not count
        assert ask("metrics").status_code == (404 if proxy == "nginx" else 401)

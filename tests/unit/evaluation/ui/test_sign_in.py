"""Gradio's own sign-in against a provider that stands in for Hugging Face's."""

import socket
import threading
import time
from urllib.parse import parse_qs, urlsplit

import gradio as gr
import httpx
import pytest
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import RedirectResponse
from fastapi.testclient import TestClient
from gradio import oauth
from gradio.routes import App
from joserfc import jwt
from joserfc.jwk import RSAKey

from evaluation.preference.http import preference_router
from evaluation.preference.opening import Opener
from evaluation.preference.session import Sessions
from evaluation.preference.store import Store
from evaluation.ui.sign_in import SpaceOwner, owner_of_space
from tests.unit.evaluation.preference.studies import open_study

OWNER = "ada"
SPACE = {"SYSTEM": "spaces", "SPACE_ID": f"{OWNER}/workbench", "SPACE_AUTHOR_NAME": OWNER}
CLIENT = {
    "OAUTH_CLIENT_ID": "client",
    "OAUTH_CLIENT_SECRET": "a secret of the client",
    "OAUTH_SCOPES": "openid profile",
}
HERE = "https://testserver"


class Provider:
    """Signs in whoever is set as `person`."""

    def __init__(self, url):
        self.url, self.person = url, {}
        self.app = FastAPI()
        self._key = RSAKey.generate_key(2048, {"kid": "k"})
        self._nonce = ""
        self.app.get("/.well-known/openid-configuration")(self.metadata)
        self.app.get("/oauth/authorize")(self.authorize)
        self.app.post("/oauth/token")(self.token)
        self.app.get("/keys")(self.keys)

    def metadata(self):
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/oauth/authorize",
            "token_endpoint": f"{self.url}/oauth/token",
            "jwks_uri": f"{self.url}/keys",
            "id_token_signing_alg_values_supported": ["RS256"],
        }

    def authorize(self, redirect_uri: str, state: str, nonce: str, client_id: str):
        assert client_id == CLIENT["OAUTH_CLIENT_ID"]
        self._nonce = nonce
        mark = "&" if "?" in redirect_uri else "?"
        return RedirectResponse(f"{redirect_uri}{mark}code=right&state={state}")

    async def token(self, request: Request):
        form = parse_qs((await request.body()).decode())
        assert form["code"] == ["right"]
        now = int(time.time())
        claims = {"iss": self.url, "aud": "client", "sub": "1", "nonce": self._nonce}
        claims |= {"iat": now, "exp": now + 600} | self.person
        id_token = jwt.encode({"alg": "RS256", "kid": "k"}, claims, self._key)
        return {"access_token": "a", "token_type": "bearer", "expires_in": 600} | {
            "id_token": id_token
        }

    def keys(self):
        return {"keys": [self._key.as_dict(private=False)]}


@pytest.fixture(scope="module")
def provider():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    provider = Provider(f"http://127.0.0.1:{port}")
    server = uvicorn.Server(uvicorn.Config(provider.app, port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield provider
    server.should_exit = True
    thread.join()


@pytest.fixture
def client(provider, tmp_path, monkeypatch):
    """A Space's page with Gradio's login button, and studies beside it."""
    environment = {**SPACE, **CLIENT, "OPENID_PROVIDER_URL": provider.url}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
        if hasattr(oauth, name):
            monkeypatch.setattr(oauth, name, value)
    owner = owner_of_space(environment)
    store = Store(f"sqlite:///{tmp_path / 'studies.db'}")
    with gr.Blocks() as page:
        gr.LoginButton()
    app = App.create_app(page)
    router = preference_router(
        store,
        Sessions(store),
        Opener(store, tmp_path),
        owner_password=None,
        signed_in_owner=owner.is_asking,
    )
    routes = list(app.router.routes)
    app.include_router(router)
    app.router.routes[:] = [*(r for r in app.router.routes if r not in routes), *routes]
    client = TestClient(app, base_url=HERE, follow_redirects=False)
    client.study_id = open_study(store, tmp_path)
    yield client
    store.close()


def sign_in(client, provider, **person):
    """Through the provider and back, as a browser goes."""
    provider.person = person
    away = client.get("/login/huggingface").headers["location"]
    assert away.startswith(provider.url)
    back = urlsplit(httpx.get(away).headers["location"])
    assert (back.scheme, back.netloc) == ("https", "testserver")
    assert client.get(f"{back.path}?{back.query}").status_code == 307


def test_the_owner_of_the_space_signs_in_and_runs_studies_without_a_password(client, provider):
    assert client.get("/rating/studies").status_code == 401
    sign_in(client, provider, preferred_username="Ada")
    assert [study["id"] for study in client.get("/rating/studies").json()] == [client.study_id]
    paused = client.post(f"/rating/studies/{client.study_id}/pause", headers={"origin": HERE})
    assert paused.json()["status"] == "paused"
    client.get("/logout")
    assert client.get("/rating/studies").status_code == 401


def test_another_page_cannot_use_the_owners_cookie_to_change_anything(client, provider):
    sign_in(client, provider, preferred_username=OWNER)
    address = f"/rating/studies/{client.study_id}/close"
    for headers in ({}, {"origin": "https://evil.example"}, {"origin": "null"}):
        assert client.post(address, headers=headers).status_code == 401
    assert client.get(f"/rating/studies/{client.study_id}").json()["status"] == "open"


@pytest.mark.parametrize(
    ("role", "status"), [("admin", 200), ("write", 200), ("read", 401), (None, 401)]
)
def test_of_an_organisation_those_who_may_write_are_owners(client, provider, role, status):
    belongs = {"preferred_username": OWNER} | ({} if role is None else {"roleInOrg": role})
    sign_in(client, provider, preferred_username="eve", orgs=[belongs])
    assert client.get("/rating/studies").status_code == status


def test_somebody_else_is_no_owner_whatever_they_call_themselves(client, provider):
    sign_in(client, provider, preferred_username="eve", name=OWNER)
    assert client.get("/rating/studies").status_code == 401


def test_without_a_client_or_a_space_nobody_can_sign_in():
    everything = {**SPACE, **CLIENT, "OPENID_PROVIDER_URL": "https://huggingface.co"}
    assert owner_of_space(everything) is not None
    for name in ("SYSTEM", "OAUTH_CLIENT_ID", "OPENID_PROVIDER_URL"):
        assert owner_of_space({**everything, name: ""}) is None


def test_a_request_without_a_session_is_nobodys():
    request = Request({"type": "http", "method": "GET", "headers": []})
    assert not SpaceOwner(OWNER).is_asking(request)
    assert not SpaceOwner(OWNER).is_asking(gr.Request(request=request))

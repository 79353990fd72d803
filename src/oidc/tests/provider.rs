//! A provider on loopback that answers as it is told.

use std::sync::{Arc, Mutex};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::Redirect,
    routing::{get, post},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, jwk::Jwk};
use serde_json::{Value, json};
use tokio_util::task::AbortOnDropHandle;

/// A key of the provider, or of somebody who plays it.
pub(super) struct Key {
    id: String,
    algorithm: Algorithm,
    private: EncodingKey,
}

impl Key {
    pub(super) fn new(id: &str, algorithm: Algorithm) -> Self {
        let random = aws_lc_rs::rand::SystemRandom::new();
        let private = match algorithm {
            Algorithm::EdDSA => EncodingKey::from_ed_der(Ed25519KeyPair::generate_pkcs8v1(&random).unwrap().as_ref()),
            _ => {
                let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
                EncodingKey::from_ec_der(key.as_ref())
            }
        };
        Self {
            id: id.to_owned(),
            algorithm,
            private,
        }
    }

    pub(super) fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(self.algorithm);
        header.kid = Some(self.id.clone());
        jsonwebtoken::encode(&header, claims, &self.private).unwrap()
    }

    fn public(&self) -> Value {
        let mut key = serde_json::to_value(Jwk::from_encoding_key(&self.private, self.algorithm).unwrap()).unwrap();
        key["kid"] = json!(self.id);
        key["use"] = json!("sig");
        key
    }
}

/// A token of an algorithm that signs nothing.
pub(super) fn unsigned(algorithm: &str, claims: &Value) -> String {
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.", part(&json!({"alg": algorithm, "kid": "one"})), part(claims))
}

/// A token signed with what everybody knows, for whoever takes a public key for a shared secret.
pub(super) fn signed_with_public_key(key: &Key, claims: &Value) -> String {
    signed_with_secret(key.public()["x"].as_str().unwrap().as_bytes(), claims)
}

pub(super) fn signed_with_secret(secret: &[u8], claims: &Value) -> String {
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some("one".to_owned());
    jsonwebtoken::encode(&header, claims, &EncodingKey::from_secret(secret)).unwrap()
}

/// A question to the token endpoint.
#[derive(Clone, Default)]
pub(super) struct Exchange {
    pub(super) authorization: String,
    body: String,
}

impl Exchange {
    pub(super) fn field(&self, name: &str) -> Option<String> {
        let mut fields = url::form_urlencoded::parse(self.body.as_bytes());
        fields
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.into_owned())
    }
}

#[derive(Default)]
struct Script {
    keys: Vec<Value>,
    keys_asked: usize,
    answer: (u16, String),
    userinfo: Value,
    exchange: Exchange,
}

type Shared = Arc<Mutex<Script>>;

pub(super) struct Provider {
    pub(super) issuer: String,
    script: Shared,
    _server: AbortOnDropHandle<()>,
}

impl Provider {
    pub(super) async fn start(keys: &[&Key]) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let metadata = json!({
            "issuer": issuer,
            "authorization_endpoint": format!("{issuer}/auth"),
            "token_endpoint": format!("{issuer}/token"),
            "jwks_uri": format!("{issuer}/keys"),
            "userinfo_endpoint": format!("{issuer}/userinfo"),
        });
        let script = Shared::default();
        let redirect = Redirect::temporary("/.well-known/openid-configuration");
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(|| async { Json(metadata) }))
            .route(
                "/elsewhere/.well-known/openid-configuration",
                get(|| async { redirect }),
            )
            .route("/keys", get(give_keys))
            .route("/token", post(give_token))
            .route("/userinfo", get(give_userinfo))
            .with_state(script.clone());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let provider = Self {
            issuer,
            script,
            _server: AbortOnDropHandle::new(server),
        };
        provider.has_keys(keys);
        provider
    }

    pub(super) fn has_keys(&self, keys: &[&Key]) {
        // Keys of kinds that nobody knows yet must not hide the others.
        let mut all = vec![json!({"kty": "FUTURE", "kid": "one"}), json!("nonsense")];
        all.extend(keys.iter().map(|key| key.public()));
        self.script.lock().unwrap().keys = all;
    }

    pub(super) fn keys_asked(&self) -> usize {
        self.script.lock().unwrap().keys_asked
    }

    pub(super) fn answer_with(&self, id_token: &str) {
        let answer = json!({"access_token": "access", "token_type": "Bearer", "id_token": id_token});
        self.answer_raw(200, answer.to_string());
    }

    pub(super) fn answer_raw(&self, status: u16, body: String) {
        self.script.lock().unwrap().answer = (status, body);
    }

    pub(super) fn knows_of(&self, userinfo: Value) {
        self.script.lock().unwrap().userinfo = userinfo;
    }

    pub(super) fn last_exchange(&self) -> Exchange {
        self.script.lock().unwrap().exchange.clone()
    }
}

async fn give_keys(State(script): State<Shared>) -> Json<Value> {
    let mut script = script.lock().unwrap();
    script.keys_asked += 1;
    Json(json!({"keys": script.keys}))
}

async fn give_token(
    State(script): State<Shared>,
    headers: HeaderMap,
    body: String,
) -> (StatusCode, [(header::HeaderName, &'static str); 1], String) {
    let mut script = script.lock().unwrap();
    let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    script.exchange = Exchange {
        authorization: authorization.unwrap_or_default().to_owned(),
        body,
    };
    let (status, body) = script.answer.clone();
    (
        StatusCode::from_u16(status).unwrap(),
        [(header::CONTENT_TYPE, "application/json")],
        body,
    )
}

async fn give_userinfo(State(script): State<Shared>, headers: HeaderMap) -> Result<Json<Value>, StatusCode> {
    match headers
        .get(header::AUTHORIZATION)
        .is_some_and(|value| value == "Bearer access")
    {
        true => Ok(Json(script.lock().unwrap().userinfo.clone())),
        false => Err(StatusCode::UNAUTHORIZED),
    }
}

//! `Idempotency-Key`: a POST that is carried out once, however often it is sent
//! (draft-ietf-httpapi-idempotency-key-header-07).
//!
//! The answer is stored in the transaction of the write, so neither exists without the other. An
//! error is not stored. It has written nothing, and the same or a corrected request may follow
//! under the same key.
//!
//! Only a hash of the request is stored; it tells a repeat from a different request. Secret members
//! are left out of the hash. Otherwise whoever reads the table and knows the rest of the body could
//! guess at a password through the hash, far faster than through the argon2id hash beside it.
//!
//! An answer that contains a token is stored sealed, under a key derived from a secret of the
//! caller. Whoever reads the table learns nothing from it, and a repeat brings the secret again.

mod header;

use std::collections::BTreeMap;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};
use futures_util::future::LocalBoxFuture;
use paperclip::actix::OperationModifier;
use paperclip::v2::models::{
    DataType, DefaultOperationRaw, DefaultSchemaRaw, Either, Parameter, ParameterIn,
};
use paperclip::v2::schema::Apiv2Schema;
use serde_json::{Map, Value};

use crate::access::{Purpose, Seal};
use crate::http::AppState;
use crate::http::error::ApiError;
use crate::http::extract::body::Body;
use crate::http::extract::caller;
use crate::http::extract::fields::FromFields;
use crate::http::response::Created;
use crate::store::idempotency_keys::{self, Outcome, PartsHash, Request, StoredResponse};
use crate::store::{Connection, MaybeConflict, StoreError};

/// The request header.
pub const HEADER: &str = "Idempotency-Key";
/// The header of an answer that is a repeat of a stored one.
pub const REPLAYED: &str = "Idempotency-Replayed";

/// A JSON body, with the key under which its request is carried out once.
pub struct IdempotentBody<T>(pub T, pub Key);

/// The idempotency key of a request, if it has one.
pub struct Key(Option<Keyed>);

struct Keyed {
    request: Request,
    seal: Option<Seal>,
}

/// Why a write was not carried out.
pub enum Refused {
    /// The key is in use, or was used for another request.
    Key(ApiError),
    /// The write itself failed.
    Write(StoreError),
}

impl Refused {
    /// The error for the client; `write` says what a failed write means for this route.
    pub fn or(self, write: impl FnOnce(StoreError) -> ApiError) -> ApiError {
        match self {
            Refused::Key(error) => error,
            Refused::Write(error) => write(error),
        }
    }
}

impl MaybeConflict for Refused {
    fn is_conflict(&self) -> bool {
        matches!(self, Refused::Write(error) if error.is_conflict())
    }
}

impl Key {
    /// Whether the request has a key. Then the write needs a transaction, which also stores the
    /// answer.
    pub fn is_given(&self) -> bool {
        self.0.is_some()
    }

    /// The key as the client sent it.
    pub fn text(&self) -> Option<&str> {
        self.0.as_ref().map(|keyed| keyed.request.key.as_str())
    }

    /// Sets the caller, for a request whose body alone says who the caller is.
    pub fn of_user(mut self, user: i64) -> Key {
        if let Some(keyed) = &mut self.0 {
            keyed.request.caller = caller::of_user(user);
        }
        self
    }

    /// Seals the stored answer, so that only a caller with this secret can read it. The secret must
    /// be impossible to guess. A repeat without it is told that the key was used for another
    /// request.
    pub fn sealed(mut self, secret: &[u8]) -> Key {
        if let Some(keyed) = &mut self.0 {
            keyed.seal = Some(Seal::new(Purpose::ANSWER, secret, &keyed.request.key));
        }
        self
    }

    /// Carries out a write on a connection, or returns the answer that is stored for it. Without a
    /// key it just carries out the write. Call this in a task of its own: a transaction that is
    /// dropped halfway keeps its locks until its connection is closed.
    ///
    /// The caller must do what follows a write (such as invalidating the cache) after a stored
    /// answer too: the process that stored the answer may have been killed before it did so.
    pub async fn write<T, W>(&self, state: &AppState, write: W) -> Result<Created<T>, Refused>
    where
        T: serde::Serialize,
        W: AsyncFnOnce(&mut Connection) -> Result<Created<T>, StoreError>,
    {
        let mut connection = state.store.connection().await.map_err(Refused::Write)?;
        let Some(keyed) = &self.0 else {
            return write(&mut connection).await.map_err(Refused::Write);
        };
        let request = &keyed.request;
        let write = async |connection: &mut Connection| {
            let answer = write(connection).await?;
            let kept = keyed.closed(answer.kept());
            Ok((answer, kept))
        };
        let keep_for = state.common.idempotency_retention;
        match idempotency_keys::once(&mut connection, request, keep_for, write).await {
            Ok(Outcome::Done(answer)) => Ok(answer),
            Ok(Outcome::Replayed(kept)) => match keyed.opened(kept) {
                Some(kept) => Ok(Created::replayed(kept)),
                None => Err(Refused::Key(ApiError::IdempotencyKeyReused)),
            },
            Ok(Outcome::InUse) => Err(Refused::Key(ApiError::IdempotencyKeyInUse)),
            Ok(Outcome::Reused) => Err(Refused::Key(ApiError::IdempotencyKeyReused)),
            Err(error) => Err(Refused::Write(error)),
        }
    }
}

impl Keyed {
    /// Seals the answer if it has to be sealed.
    fn closed(&self, mut kept: StoredResponse) -> StoredResponse {
        if let Some(seal) = &self.seal {
            kept.body = seal.seal(&self.about(), kept.body);
        }
        kept
    }

    /// Undoes [`closed`](Keyed::closed); `None` if the answer was sealed with another secret.
    fn opened(&self, mut kept: StoredResponse) -> Option<StoredResponse> {
        if let Some(seal) = &self.seal {
            kept.body = seal.open(&self.about(), &kept.body)?;
        }
        Some(kept)
    }

    /// The rest of the row, hashed. A sealed answer is bound to it and can be opened in no other
    /// row.
    fn about(&self) -> Vec<u8> {
        let Request { caller, route, key, fingerprint } = &self.request;
        let mut hash = PartsHash::default();
        for part in [caller.as_bytes(), route.as_bytes(), key.as_bytes(), fingerprint] {
            hash.add(part);
        }
        hash.finish()
    }
}

/// The hash of what a request asks for: its path, its query and its body (as a document), without
/// secrets.
fn fingerprint(request: &HttpRequest, members: &Map<String, Value>, secrets: &[&str]) -> Vec<u8> {
    let mut hash = PartsHash::default();
    hash.add(request.path().as_bytes());
    hash.add(request.query_string().as_bytes());
    let open: BTreeMap<&String, &Value> =
        members.iter().filter(|(name, _)| !secrets.contains(&name.as_str())).collect();
    for (name, value) in open {
        hash.add(name.as_bytes());
        hash.add(value.to_string().as_bytes());
    }
    hash.finish()
}

impl<T: FromFields> FromRequest for IdempotentBody<T> {
    type Error = ApiError;
    type Future = LocalBoxFuture<'static, Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let key = header::read(request.headers().get_all(HEADER).map(|value| value.as_bytes()));
        let members = Body::<T>::members(request, payload);
        let request = request.clone();
        Box::pin(async move {
            let key = key.map_err(|fault| ApiError::Validation(vec![fault]))?;
            let members = members.await?;
            let keyed = key.map(|key| {
                let request = Request {
                    caller: caller::name(&request),
                    route: format!("{} {}", request.method(), route(&request)),
                    key,
                    fingerprint: fingerprint(&request, &members, T::SECRETS),
                };
                Keyed { request, seal: None }
            });
            Ok(IdempotentBody(Body::of(members)?.0, Key(keyed)))
        })
    }
}

fn route(request: &HttpRequest) -> String {
    request.match_pattern().unwrap_or_else(|| request.path().to_owned())
}

impl<T: Apiv2Schema> Apiv2Schema for IdempotentBody<T> {}
impl<T: Apiv2Schema> OperationModifier for IdempotentBody<T> {
    /// The rest of the description, and the errors that the header brings, are in `openapi`.
    fn update_parameter(operation: &mut DefaultOperationRaw) {
        <Body<T> as OperationModifier>::update_parameter(operation);
        operation.parameters.push(Either::Right(Parameter {
            name: HEADER.to_owned(),
            in_: ParameterIn::Header,
            data_type: Some(DataType::String),
            ..Parameter::default()
        }));
    }
    fn update_definitions(map: &mut BTreeMap<String, DefaultSchemaRaw>) {
        <Body<T> as OperationModifier>::update_definitions(map);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;
    use serde_json::json;

    #[test]
    fn a_fingerprint_is_of_the_document_and_the_place_and_not_of_a_secret() {
        let of = |uri: &str, body: Value| {
            let request = TestRequest::post().uri(uri).to_http_request();
            fingerprint(&request, body.as_object().unwrap(), &["password"])
        };
        let text = r#"{ "b": null, "a": 1, "password": "x" }"#;
        let one = of("/users", serde_json::from_str(text).unwrap());
        assert_eq!(one, of("/users", json!({ "a": 1, "password": "y", "b": null })));
        assert_eq!(one, of("/users", json!({ "a": 1, "b": null })));
        for other in
            [json!({ "a": 1 }), json!({ "a": "1", "b": null }), json!({ "a": 2, "b": null })]
        {
            assert_ne!(one, of("/users", other));
        }
        assert_ne!(one, of("/users/1", json!({ "a": 1, "b": null })));
        assert_ne!(one, of("/users?x", json!({ "a": 1, "b": null })));
    }
}

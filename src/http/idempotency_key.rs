//! `Idempotency-Key`: a POST that is carried out once, however often it is sent
//! (draft-ietf-httpapi-idempotency-key-header-07).
//!
//! The answer is kept in the transaction of the write, so there is never one without the other. An
//! error is not kept: it has written nothing, and the same or a corrected request may follow under
//! the same key.
//!
//! Of the request only a hash is kept, by which a repeat is told from another request. A member that
//! is a secret is left out of it: with the rest of the body known, a hash of a password could be
//! guessed at by whoever reads the table, faster by far than the argon2id hash beside it.

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

use crate::http::State;
use crate::http::answer::Created;
use crate::http::caller;
use crate::http::error::{ApiError, Fault, Place};
use crate::http::fields::{Body, FromFields};
use crate::store::idempotency_keys::{self, Outcome, PartsHash, Request};
use crate::store::{Connection, StoreError};

/// The header of a request.
pub const HEADER: &str = "Idempotency-Key";
/// The header of an answer that was given before.
pub const REPLAYED: &str = "Idempotency-Replayed";

/// How long a key may be: as long as anybody's are.
const KEY_CHARS: usize = 255;

/// A JSON body, and the key under which its request is carried out once.
pub struct Once<T>(pub T, pub Key);

/// The key of a request, if it has one.
pub struct Key(Option<Request>);

/// Why a write was not carried out.
pub enum Refused {
    /// Its key is in use, or was used for another.
    Key(ApiError),
    /// It failed itself.
    Write(StoreError),
}

impl Refused {
    /// As a client meets it; `write` knows what a failed write means here.
    pub fn or(self, write: impl FnOnce(StoreError) -> ApiError) -> ApiError {
        match self {
            Refused::Key(error) => error,
            Refused::Write(error) => write(error),
        }
    }
}

impl Key {
    /// Carries a write out on a connection, or answers what it was answered before. Without a key it
    /// is the write and nothing else. To be called in a task of its own: a transaction that is dropped
    /// half way holds its locks until its connection is.
    ///
    /// What follows a write must follow an answer from before as well: whoever gave it may have been
    /// killed in between.
    pub async fn write<T, W>(self, state: &State, write: W) -> Result<Created<T>, Refused>
    where
        T: serde::Serialize,
        W: AsyncFnOnce(&mut Connection) -> Result<Created<T>, StoreError>,
    {
        let mut connection = state.store.connection().await.map_err(Refused::Write)?;
        let Some(request) = self.0 else {
            return write(&mut connection).await.map_err(Refused::Write);
        };
        let write = async |connection: &mut Connection| {
            let answer = write(connection).await?;
            let kept = answer.kept();
            Ok((answer, kept))
        };
        let keep_for = state.idempotency_retention;
        match idempotency_keys::once(&mut connection, &request, keep_for, write).await {
            Ok(Outcome::Done(answer)) => Ok(answer),
            Ok(Outcome::Kept(kept)) => Ok(Created::replayed(kept)),
            Ok(Outcome::InUse) => Err(Refused::Key(ApiError::IdempotencyKeyInUse)),
            Ok(Outcome::Reused) => Err(Refused::Key(ApiError::IdempotencyKeyReused)),
            Err(error) => Err(Refused::Write(error)),
        }
    }
}

/// Reads the header's lines, each a key in quotes (a string of RFC 8941, section 3.3.3) or bare.
fn read<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Result<Option<String>, Fault> {
    let fault = |message: &str| Fault::new(Place::Header, HEADER, message);
    let mut found: Option<String> = None;
    for line in lines {
        let key = unquoted(line.trim_ascii())
            .filter(|key| (1..=KEY_CHARS).contains(&key.len()))
            .ok_or_else(|| fault("must be 1 to 255 visible ASCII characters, in quotes or bare"))?;
        if found.replace(key.clone()).is_some_and(|other| other != key) {
            return Err(fault("is given more than once"));
        }
    }
    Ok(found)
}

fn unquoted(text: &[u8]) -> Option<String> {
    let text =
        std::str::from_utf8(text).ok().filter(|t| t.bytes().all(|b| b.is_ascii_graphic()))?;
    let Some(inner) = text.strip_prefix('"') else { return Some(text.to_owned()) };
    let mut characters = inner.strip_suffix('"')?.chars();
    let mut key = String::new();
    while let Some(character) = characters.next() {
        match character {
            '"' => return None,
            '\\' => key.push(characters.next().filter(|escaped| matches!(escaped, '"' | '\\'))?),
            other => key.push(other),
        }
    }
    Some(key)
}

/// The hash of what a request asks for: its place and its body, as a document, without its secrets.
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

impl<T: FromFields> FromRequest for Once<T> {
    type Error = ApiError;
    type Future = LocalBoxFuture<'static, Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let key = read(request.headers().get_all(HEADER).map(|value| value.as_bytes()));
        let members = Body::<T>::members(request, payload);
        let request = request.clone();
        Box::pin(async move {
            let key = key.map_err(|fault| ApiError::Validation(vec![fault]))?;
            let members = members.await?;
            let keyed = key.map(|key| Request {
                caller: caller::name(&request),
                route: format!("{} {}", request.method(), route(&request)),
                key,
                fingerprint: fingerprint(&request, &members, T::SECRETS),
            });
            Ok(Once(Body::of(members)?.0, Key(keyed)))
        })
    }
}

fn route(request: &HttpRequest) -> String {
    request.match_pattern().unwrap_or_else(|| request.path().to_owned())
}

impl<T: Apiv2Schema> Apiv2Schema for Once<T> {}
impl<T: Apiv2Schema> OperationModifier for Once<T> {
    /// The rest of its description, and the errors it brings, are in `openapi`.
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

    fn key(lines: &[&str]) -> Result<Option<String>, Fault> {
        read(lines.iter().map(|line| line.as_bytes()))
    }

    #[test]
    fn a_key_is_read_in_quotes_and_bare() {
        let longest = "k".repeat(255);
        let quoted = format!("\"{longest}\"");
        for (lines, wanted) in [
            (&[] as &[&str], None),
            (
                &["8e03978e-40d5-43dd-bc93-6894a57f9324"],
                Some("8e03978e-40d5-43dd-bc93-6894a57f9324"),
            ),
            (&["\"abc\""], Some("abc")),
            (&[" abc "], Some("abc")),
            (&["abc", "\"abc\""], Some("abc")),
            (&[r#""a\"b\\c""#], Some(r#"a"b\c"#)),
            (&[r"a\b"], Some(r"a\b")),
            (&[&longest], Some(&longest)),
            (&[&quoted], Some(&longest)),
        ] {
            assert_eq!(key(lines), Ok(wanted.map(str::to_owned)), "{lines:?}");
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let long = "k".repeat(256);
        for lines in [
            &[""] as &[&str],
            &["\"\""],
            &["\""],
            &["\"abc"],
            &["\"a\"b\""],
            &["\"a\\b\""],
            &["\"a\\"],
            &["\"abc\\\""],
            &["a b"],
            &["\"a b\""],
            &["é"],
            &["a\tb"],
            &[&long],
            &["a", "b"],
        ] {
            let fault = key(lines).unwrap_err();
            assert_eq!((fault.r#in, fault.pointer.as_str()), (Place::Header, "/Idempotency-Key"));
        }
    }

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

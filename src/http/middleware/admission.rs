//! Who may do what: one table with a rule for each route. A route without a rule lets nobody in.

use std::time::Duration;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, FromRequest, HttpMessage, HttpRequest, ResponseError};
use futures_util::future::{Ready, ready};
use paperclip::actix::OperationModifier;
use paperclip::v2::schema::Apiv2Schema;

use crate::access::{Caller, Tokens};
use crate::ground::secret::Secret;
use crate::http::State;
use crate::http::error::{ApiError, Fault, Place};
use crate::http::extract::idempotency_key::HEADER;
use crate::store::accounts::tokens::Holder;

/// What a route requires of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Nothing: anybody may call it.
    Nothing,
    /// A token. The handler checks whose resources are asked for.
    Token,
    /// An admin's token.
    Admin,
    /// An admin's token, unless `METRICS_PUBLIC` is true.
    AdminUnlessMetricsArePublic,
}
use Need::{Admin, AdminUnlessMetricsArePublic, Nothing, Token};

/// Method, route and requirement. HEAD is covered by GET.
pub const RULES: [(&str, &str, Need); 42] = [
    ("POST", "/sessions", Nothing),
    ("GET", "/sessions", Token),
    ("DELETE", "/sessions", Token),
    ("DELETE", "/sessions/current", Token),
    ("DELETE", "/sessions/{id}", Token),
    ("GET", "/tokens", Token),
    ("POST", "/tokens", Token),
    ("DELETE", "/tokens/{id}", Token),
    ("GET", "/users", Admin),
    ("POST", "/users", Admin),
    ("GET", "/users/{id}", Token),
    ("PATCH", "/users/{id}", Token),
    ("DELETE", "/users/{id}", Admin),
    ("GET", "/users/{id}/tokens", Token),
    ("DELETE", "/users/{id}/tokens", Token),
    ("DELETE", "/users/{id}/tokens/{tokenId}", Token),
    ("GET", "/users/{id}/sessions", Token),
    ("DELETE", "/users/{id}/sessions", Token),
    ("DELETE", "/users/{id}/sessions/{sessionId}", Token),
    ("GET", "/categories", Token),
    ("POST", "/categories", Admin),
    ("GET", "/categories/{id}", Token),
    ("PATCH", "/categories/{id}", Admin),
    ("DELETE", "/categories/{id}", Admin),
    ("GET", "/tasks", Token),
    ("POST", "/tasks", Token),
    ("GET", "/tasks/{id}", Token),
    ("PUT", "/tasks/{id}", Token),
    ("PATCH", "/tasks/{id}", Token),
    ("DELETE", "/tasks/{id}", Token),
    ("GET", "/tasks/{id}/activity", Token),
    ("GET", "/events", Admin),
    ("GET", "/events/{eventId}", Admin),
    ("POST", "/operator/dead-letters", Admin),
    ("GET", "/metrics", AdminUnlessMetricsArePublic),
    ("GET", "/healthz", Nothing),
    ("GET", "/readyz", Nothing),
    ("GET", "/", Nothing),
    ("GET", "/openapi.json", Nothing),
    ("GET", "/docs", Nothing),
    ("GET", "/docs/{file:.*}", Nothing),
    ("GET", "/schemas/{type}", Nothing),
];

/// How strict this instance is.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// Whether requests without a token are accepted, and may do anything.
    pub anybody: bool,
    /// Whether anybody may read `/metrics`.
    pub metrics_public: bool,
}

/// The pattern that the path of a request matches, if any. It is kept, since finding it means
/// trying the patterns one by one.
#[derive(Clone)]
pub struct Route(pub Option<String>);

/// Why a request is to be refused.
struct Refusal(ApiError);

/// The outer middleware: authenticates the caller and checks the table. [`enforce`] does the
/// refusing, so that the layers in between (the rate limits) count refused requests too.
pub async fn identify<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let route = Route(request.match_pattern());
    let caller = caller(&request, route.0.as_deref()).await;
    request.extensions_mut().insert(route);
    match caller {
        Ok(None) => {}
        Ok(Some(caller)) => drop(request.extensions_mut().insert(caller)),
        Err(error) => drop(request.extensions_mut().insert(Refusal(error))),
    }
    next.call(request).await
}

/// The inner middleware: refuses what [`identify`] did not admit.
///
/// Paths that match no route of the table are answered here as well. So no other reading of a path
/// (such as one with percent-encoded letters) can reach a handler past the table.
pub async fn enforce<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let refusal = request.extensions_mut().remove::<Refusal>();
    match refusal.or_else(|| misplaced_key(&request).map(Refusal)) {
        Some(Refusal(error)) => Ok(request.into_response(error.error_response())),
        None => Ok(next.call(request).await?.map_into_boxed_body()),
    }
}

/// The route by which `taskd dlq` manages dead letters.
pub const OPERATOR_PATH: &str = "/operator/dead-letters";

/// Refuses an `Idempotency-Key` where it would be ignored: a client that sends one relies on it.
fn misplaced_key(request: &ServiceRequest) -> Option<ApiError> {
    let message = match *request.method() {
        Method::PUT | Method::PATCH | Method::DELETE => {
            "is for POST: repeated, this request does the same again; with If-Match it is carried out once at most"
        }
        Method::POST if request.match_info().as_str() == OPERATOR_PATH => {
            "is not taken here: repeated, an order does the same again"
        }
        _ => return None,
    };
    let fault = Fault::new(Place::Header, HEADER, message);
    request.headers().contains_key(HEADER).then(|| ApiError::Validation(vec![fault]))
}

/// The caller, where the route requires one.
async fn caller(request: &ServiceRequest, route: Option<&str>) -> Result<Option<Caller>, ApiError> {
    let route = route.ok_or(ApiError::RouteNotFound)?;
    let method = request.method().as_str();
    let need = RULES
        .iter()
        .find(|(m, path, _)| *m == method && *path == route)
        .map(|rule| rule.2)
        .ok_or_else(|| refusal(route))?;
    let state = request.app_data::<Data<State>>().ok_or(ApiError::Internal)?;
    let admin = match need {
        Need::Nothing => return Ok(None),
        Need::AdminUnlessMetricsArePublic if state.policy.metrics_public => return Ok(None),
        Need::Token => false,
        Need::Admin | Need::AdminUnlessMetricsArePublic => true,
    };
    let caller = match bearer(request.headers())? {
        Some(token) => {
            let holder = match need {
                Need::AdminUnlessMetricsArePublic => scraper(&state.tokens, token).await?,
                _ => state.tokens.holder(token).await?,
            };
            Caller::Known(holder.ok_or(ApiError::InvalidToken)?)
        }
        None if state.policy.anybody => Caller::Anybody,
        None => return Err(ApiError::Unauthenticated),
    };
    if admin && !caller.is_admin() {
        return Err(FOR_ADMINS);
    }
    Ok(Some(caller))
}

/// Admits only an admin's token, in a process without the table.
pub(in crate::http) async fn admin_only(
    request: &HttpRequest,
    tokens: &Tokens,
) -> Result<(), ApiError> {
    let token = bearer(request.headers())?.ok_or(ApiError::Unauthenticated)?;
    let holder = scraper(tokens, token).await?.ok_or(ApiError::InvalidToken)?;
    if Caller::Known(holder).is_admin() { Ok(()) } else { Err(FOR_ADMINS) }
}

/// How long the check of a scraper's token may take. A scraper gets its answer within a second,
/// even while the database hangs.
const SCRAPERS_PATIENCE: Duration = Duration::from_millis(400);

async fn scraper(tokens: &Tokens, token: &str) -> Result<Option<Holder>, ApiError> {
    let looking = tokio::time::timeout(SCRAPERS_PATIENCE, tokens.holder(token)).await;
    Ok(looking.map_err(|_| ApiError::Unavailable)??)
}

const FOR_ADMINS: ApiError = ApiError::Forbidden("this is for admins");

/// Refuses a method that the route doesn't have: 405 with the methods that it has. A route that has
/// no rule lets nobody in.
fn refusal(route: &str) -> ApiError {
    let methods: Vec<&str> = RULES.iter().filter(|rule| rule.1 == route).map(|r| r.0).collect();
    if methods.is_empty() {
        tracing::error!(route, "has no rule in the table of who may do what");
        return ApiError::Forbidden("nobody may");
    }
    let allow: Vec<&str> = methods
        .into_iter()
        .flat_map(|method| if method == "GET" { vec!["GET", "HEAD"] } else { vec![method] })
        .collect();
    ApiError::MethodNotAllowed(allow.join(", "))
}

/// The token in an `Authorization: Bearer` header (RFC 6750, section 2.1).
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    let mut headers = headers.get_all(AUTHORIZATION);
    let Some(value) = headers.next() else { return Ok(None) };
    let token = value
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
        .filter(|token| !token.is_empty());
    match (token, headers.next()) {
        (Some(token), None) => Ok(Some(token)),
        _ => Err(ApiError::InvalidToken),
    }
}

impl FromRequest for Caller {
    type Error = ApiError;
    type Future = Ready<Result<Caller, ApiError>>;

    /// There is a caller on every route for which the table requires a token.
    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(request.extensions().get::<Caller>().copied().ok_or(ApiError::Unauthenticated))
    }
}

/// The token that a request brings, for answers that only its holder may read again.
pub struct Bearer(pub Option<Secret>);

impl FromRequest for Bearer {
    type Error = ApiError;
    type Future = Ready<Result<Bearer, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let token = bearer(request.headers());
        ready(token.map(|token| Bearer(token.map(|token| Secret::new(token.to_owned())))))
    }
}

// Neither is a parameter: the OpenAPI document takes the requirements from the table.
impl Apiv2Schema for Caller {}
impl OperationModifier for Caller {}
impl Apiv2Schema for Bearer {}
impl OperationModifier for Bearer {}

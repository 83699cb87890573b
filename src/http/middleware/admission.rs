//! Who may do what, by the table of routes. A path that is not in it lets nobody in.

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
use crate::http::AppState;
use crate::http::error::{ApiError, Fault, RequestPart};
use crate::http::extract::fields::no_parameters;
use crate::http::extract::idempotency_key::HEADER;
use crate::http::route::{Need, QueryParameters, Route, Routes};
use crate::store::accounts::tokens::Holder;

/// How strict this instance is.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// Whether requests without a token are accepted, and may do anything.
    pub anybody: bool,
    /// Whether anybody may read `/metrics`.
    pub metrics_public: bool,
}

/// What a request asks for. It is kept, since finding it means trying the patterns one by one.
#[derive(Clone)]
pub struct MatchedRoute {
    /// The pattern that the path matches, if any.
    pub path: Option<String>,
    /// The route, if the path has this method.
    pub route: Option<&'static Route>,
}

/// Why a request is to be refused.
struct Refusal(ApiError);

/// The outer middleware: authenticates the caller and checks the table. [`enforce`] does the
/// refusing, so that the layers in between (the rate limits) count refused requests too.
pub async fn identify<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let path = request.match_pattern();
    // Without the table nobody may do anything.
    let routes = request.app_data::<&'static Routes>().copied();
    let route = routes.zip(path.as_deref());
    let route = route.and_then(|(routes, path)| routes.find(request.method().as_str(), path));
    let caller = match route {
        Some(route) => caller(&request, route).await,
        None => Err(refusal(routes, path.as_deref())),
    };
    request.extensions_mut().insert(MatchedRoute { path, route });
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
    let refusal = refusal
        .or_else(|| misplaced_key(&request).map(Refusal))
        .or_else(|| unread_parameters(&request).map(Refusal));
    match refusal {
        Some(Refusal(error)) => Ok(request.into_response(error.error_response())),
        None => Ok(next.call(request).await?.map_into_boxed_body()),
    }
}

/// Refuses an `Idempotency-Key` where it would be ignored: a client that sends one relies on it.
fn misplaced_key(request: &ServiceRequest) -> Option<ApiError> {
    let message = match *request.method() {
        Method::PUT | Method::PATCH | Method::DELETE => {
            "is for POST: repeated, this request does the same again; with If-Match it is carried out once at most"
        }
        Method::POST if is_order(request) => {
            "is not taken here: repeated, an order does the same again"
        }
        _ => return None,
    };
    let fault = Fault::new(RequestPart::Header, HEADER, message);
    request.headers().contains_key(HEADER).then(|| ApiError::Validation(vec![fault]))
}

/// Refuses query parameters where they would be ignored: a client that sends one relies on it.
fn unread_parameters(request: &ServiceRequest) -> Option<ApiError> {
    if request.query_string().is_empty() {
        return None;
    }
    let refused = matched(request).is_some_and(|r| r.parameters == QueryParameters::Refused);
    if refused { no_parameters(request.query_string()).err() } else { None }
}

/// Whether the request is an order to this process, of which no answer is kept.
fn is_order(request: &ServiceRequest) -> bool {
    matched(request).is_some_and(|route| !route.keeps_answer)
}

fn matched(request: &ServiceRequest) -> Option<&'static Route> {
    request.extensions().get::<MatchedRoute>().and_then(|matched| matched.route)
}

/// The caller, where the route requires one.
async fn caller(request: &ServiceRequest, route: &Route) -> Result<Option<Caller>, ApiError> {
    let state = request.app_data::<Data<AppState>>().ok_or(ApiError::Internal)?;
    let metrics_public = state.common.policy.metrics_public;
    match route.need {
        Need::Nothing => return Ok(None),
        Need::OperationUnlessMetricsArePublic if metrics_public => return Ok(None),
        _ => {}
    }
    let caller = match bearer(request.headers())? {
        Some(token) => {
            let holder = match route.need {
                Need::OperationUnlessMetricsArePublic => scraper(&state.tokens, token).await?,
                _ => state.tokens.holder(token).await?,
            };
            Caller::Holder(holder.ok_or(ApiError::InvalidToken)?)
        }
        None if state.common.policy.anybody => Caller::Anybody,
        None => return Err(ApiError::Unauthenticated),
    };
    admit(caller, route)?;
    Ok(Some(caller))
}

/// Refuses a caller whose role is not enough for a route. What it may do there with which resource
/// is for the handler to decide.
fn admit(caller: Caller, route: &Route) -> Result<(), ApiError> {
    if caller.is_viewer() && !route.admits_viewers() {
        return Err(VIEWERS_LOOK);
    }
    match route.need {
        Need::Nothing | Need::Token => Ok(()),
        Need::Operation | Need::OperationUnlessMetricsArePublic => {
            if caller.sees_operation() {
                Ok(())
            } else {
                Err(FOR_OPERATORS)
            }
        }
        Need::Admin => {
            if caller.is_admin() {
                Ok(())
            } else {
                Err(FOR_ADMINS)
            }
        }
    }
}

/// Admits only a token that may see the metrics, in a process without the table.
pub(in crate::http) async fn operators_only(
    request: &HttpRequest,
    tokens: &Tokens,
) -> Result<(), ApiError> {
    let token = bearer(request.headers())?.ok_or(ApiError::Unauthenticated)?;
    let holder = scraper(tokens, token).await?.ok_or(ApiError::InvalidToken)?;
    if Caller::Holder(holder).sees_operation() { Ok(()) } else { Err(FOR_OPERATORS) }
}

/// How long the check of a scraper's token may take. A scraper gets its answer within a second,
/// even while the database hangs.
const SCRAPERS_PATIENCE: Duration = Duration::from_millis(400);

async fn scraper(tokens: &Tokens, token: &str) -> Result<Option<Holder>, ApiError> {
    let looking = tokio::time::timeout(SCRAPERS_PATIENCE, tokens.holder(token)).await;
    Ok(looking.map_err(|_| ApiError::Unavailable)??)
}

const FOR_ADMINS: ApiError = ApiError::Forbidden("this is for admins");
const FOR_OPERATORS: ApiError = ApiError::Forbidden("this is for admins and viewers");
/// What a viewer may not do.
pub(in crate::http) const VIEWERS_LOOK: ApiError = ApiError::Forbidden(
    "viewers look at everything and change nothing but their password: ask an admin, also for an \
     API token (taskd token create)",
);

/// Refuses what is no route: 404 for a path that there isn't, or else 405 with the methods that the
/// path has. A path that the server knows and that is not in the table lets nobody in.
fn refusal(routes: Option<&Routes>, path: Option<&str>) -> ApiError {
    let Some(path) = path else { return ApiError::RouteNotFound };
    let methods = routes.map_or_else(Vec::new, |routes| routes.methods(path));
    if methods.is_empty() {
        tracing::error!(path, "is not in the table of routes");
        return ApiError::Forbidden("nobody may");
    }
    let with_head = |method| if method == "GET" { vec!["GET", "HEAD"] } else { vec![method] };
    let allow: Vec<&str> = methods.into_iter().flat_map(with_head).collect();
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

//! How many requests a client may send. Requests with a valid token are counted by user, whichever
//! token of the user they bring; all others are counted by address. Every response of a limited
//! route says what is left, in `RateLimit` and `RateLimit-Policy`
//! (draft-ietf-httpapi-ratelimit-headers-10) and, for clients that know the draft's earlier form
//! (-06), in `RateLimit-Limit`, `-Remaining` and `-Reset`. A request beyond the limit gets 429.
//!
//! The count is shared through Redis. While Redis is down, each instance counts for itself. A
//! client may then send the full rate to each instance, which is better than no limit, and than an
//! outage.

use std::sync::Arc;
use std::time::Duration;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpMessage, HttpRequest, ResponseError};

use crate::cache::{Breaker, CacheError, Circuit, Limiter, MemoryLimiter};
use crate::domain::rate::{Decision, Limit, Rate};
use crate::ground::networks::Networks;
use crate::http::AppState;
use crate::http::error::ApiError;
use crate::http::extract::caller;
use crate::http::middleware::admission::MatchedRoute;
use crate::http::route::{Class, Route, Routes};

/// How often users may change their own address. Addresses are not confirmed, so each change
/// may name a stranger's address, who then gets mail.
const ADDRESS_CHANGES: Rate = Rate::of(5, Duration::from_secs(24 * 3600));

/// The class of a request: that of its route, or of its method where there is no such route. `None`
/// if it is never limited.
fn class_of(method: &Method, route: Option<&Route>) -> Option<Class> {
    let class = match route {
        Some(route) => route.class,
        None => match *method {
            // A preflight, which browsers send by themselves.
            Method::OPTIONS => Class::Unlimited,
            Method::GET | Method::HEAD => Class::Reads,
            _ => Class::Writes,
        },
    };
    (class != Class::Unlimited).then_some(class)
}

/// The route of a request; where its path is written in another way than the pattern (which is then
/// answered 404), the route that it would be, so that percent-encoding hides nothing.
fn route_of(request: &ServiceRequest) -> Option<&'static Route> {
    let matched = request.extensions().get::<MatchedRoute>().and_then(|matched| matched.route);
    matched.or_else(|| {
        let routes = request.app_data::<&'static Routes>()?;
        routes.find(request.method().as_str(), request.match_info().as_str())
    })
}

fn name(class: Class) -> &'static str {
    match class {
        Class::Reads => "reads",
        Class::Writes => "writes",
        Class::SignIn => "sign-in",
        Class::Unlimited => "unlimited",
    }
}

/// The rate of each class, and the proxies to trust for addresses.
#[derive(Debug, Clone, Default)]
pub struct Rates {
    /// For GET and HEAD.
    pub reads: Limit,
    /// For all other methods.
    pub writes: Limit,
    /// For attempts to sign in. Always by address, since the user is not known yet.
    pub sign_in: Limit,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Networks,
}

/// Counts requests and refuses those beyond the limit. See the module.
pub struct RateLimits {
    rates: Rates,
    shared: Option<Arc<dyn Limiter>>,
    own: MemoryLimiter,
    breaker: Breaker,
}

impl RateLimits {
    /// Counts in `shared` if there is one, else in this process.
    pub fn new(rates: Rates, shared: Option<Arc<dyn Limiter>>) -> RateLimits {
        let (own, breaker) = (MemoryLimiter::default(), Breaker::default());
        RateLimits { rates, shared, own, breaker }
    }

    /// See [`Rates::trusted_proxies`].
    pub fn trusted_proxies(&self) -> &Networks {
        &self.rates.trusted_proxies
    }

    fn rate(&self, class: Class) -> Option<Rate> {
        let limit = match class {
            Class::Reads => self.rates.reads,
            Class::Writes => self.rates.writes,
            Class::SignIn => self.rates.sign_in,
            Class::Unlimited => return None,
        };
        limit.0
    }

    fn key(&self, class: Class, request: &HttpRequest) -> String {
        if let Some(user) = caller::user(request).filter(|_| class != Class::SignIn) {
            return format!("{}:{}", name(class), caller::of_user(user));
        }
        let address = caller::address(request, &self.rates.trusted_proxies);
        let address = address.map_or_else(|| "unknown".to_owned(), caller::household);
        format!("{}:address:{address}", name(class))
    }

    /// Counts an attempt to give a user's own password, at the rate of sign-in attempts.
    pub async fn guess(&self, user: i64) -> Result<(), ApiError> {
        let Some(rate) = self.rates.sign_in.0 else { return Ok(()) };
        self.pass(&format!("{}:{}", name(Class::SignIn), caller::of_user(user)), rate).await
    }

    /// Counts a change of a user's own address.
    pub async fn change_address(&self, user: i64) -> Result<(), ApiError> {
        self.pass(&format!("address:{}", caller::of_user(user)), ADDRESS_CHANGES).await
    }

    async fn pass(&self, key: &str, rate: Rate) -> Result<(), ApiError> {
        match self.take(key, rate).await {
            Ok(taken) if !taken.granted => Err(refusal(taken)),
            Ok(_) => Ok(()),
            Err(error) => {
                tracing::error!(%error, "a request could not be counted");
                Ok(())
            }
        }
    }

    async fn take(&self, key: &str, rate: Rate) -> Result<Decision, CacheError> {
        let shared = self.shared.as_ref();
        if let Some(shared) = shared.filter(|_| self.breaker.circuit() != Circuit::Broken) {
            match shared.take(key, rate).await {
                Ok(taken) => return Ok(taken),
                Err(error) if self.breaker.failed() => {
                    tracing::warn!(%error, "the shared rate limits are unavailable; each instance counts for itself");
                }
                Err(_) => {}
            }
        }
        self.own.take(key, rate).await
    }
}

/// The middleware, which counts each request of a limited class.
pub async fn limit<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let limited = request.app_data::<Data<AppState>>().and_then(|state| {
        let class = class_of(request.method(), route_of(&request))?;
        Some((class, state.common.rates.rate(class)?, Arc::clone(&state.common)))
    });
    let Some((class, rate, common)) = limited else {
        return Ok(next.call(request).await?.map_into_boxed_body());
    };
    let key = common.rates.key(class, request.request());
    let taken = match common.rates.take(&key, rate).await {
        Ok(taken) => taken,
        Err(error) => {
            tracing::error!(%error, "a request could not be counted");
            return Ok(next.call(request).await?.map_into_boxed_body());
        }
    };
    let mut response = if taken.granted {
        next.call(request).await?.map_into_boxed_body()
    } else {
        request.into_response(refusal(taken).error_response())
    };
    for (name, value) in headers(class, rate, taken) {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
    Ok(response)
}

fn refusal(taken: Decision) -> ApiError {
    let seconds = seconds(taken.retry_after).max(1);
    ApiError::RateLimited(u32::try_from(seconds).unwrap_or(u32::MAX))
}

/// The headers that tell the client its limit.
fn headers(class: Class, rate: Rate, taken: Decision) -> [(&'static str, String); 5] {
    let name = name(class);
    let policy = format!("\"{name}\";q={};w={}", rate.count(), seconds(rate.period()));
    let left = format!("\"{name}\";r={};t={}", taken.remaining, seconds(taken.reset_after));
    [
        ("ratelimit-policy", policy),
        ("ratelimit", left),
        ("ratelimit-limit", rate.count().to_string()),
        ("ratelimit-remaining", taken.remaining.to_string()),
        ("ratelimit-reset", seconds(taken.reset_after).to_string()),
    ]
}

/// Whole seconds, rounded up, so that a client that waits as long does not come too early.
fn seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_route_is_counted_by_its_method() {
        for (method, class) in [
            (Method::GET, Some(Class::Reads)),
            (Method::DELETE, Some(Class::Writes)),
            (Method::OPTIONS, None),
        ] {
            assert_eq!(class_of(&method, None), class, "{method}");
        }
    }

    #[test]
    fn the_headers_are_structured_fields() {
        let rate: Rate = "600/1m".parse().unwrap();
        let (taken, _) = rate.take(0);
        let [policy, left, limit, remaining, reset] = headers(Class::SignIn, rate, taken);
        assert_eq!(policy, ("ratelimit-policy", "\"sign-in\";q=600;w=60".to_owned()));
        assert_eq!([limit.1, remaining.1, reset.1], ["600", "599", "1"]);
        assert_eq!(left, ("ratelimit", "\"sign-in\";r=599;t=1".to_owned()));
    }
}

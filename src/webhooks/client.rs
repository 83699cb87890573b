//! Sends deliveries, and takes every answer for what it may be: slow, endless, a lie or a trap.

use std::error::Error;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};

use super::address::{NotAllowed, Reach};
use super::signature::{SigningSecret, signature};
use crate::ground::tls::{Tls, http_client};

/// How long a receiver may take, from the look-up of its name to the end of its answer.
pub const TIME_LIMIT: Duration = Duration::from_secs(15);
/// How many bytes of an answer are kept.
pub const ANSWER_BYTES: usize = 4_096;
/// How long a receiver may ask to be left alone; a longer time counts as this one.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3_600);
/// How long an idle connection is kept for the next delivery.
const IDLE: Duration = Duration::from_secs(10);
/// How many of them for each receiver: as many as may be in flight to it.
const IDLE_CONNECTIONS: usize = super::window::WIDEST;

/// What is sent.
#[derive(Clone)]
pub struct Delivery {
    /// Where to.
    pub url: String,
    /// The event's id, the same on every try.
    pub id: String,
    /// The body, which is signed as it is.
    pub body: Bytes,
    /// What it is signed with, the newest first.
    pub secrets: Vec<SigningSecret>,
}

/// What came of one try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The status of the answer, if there was one.
    pub status: Option<u16>,
    /// The beginning of its body.
    pub answer: String,
    /// How long it took.
    pub took: Duration,
    /// What it means.
    pub outcome: Outcome,
}

/// What a try means for its delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver has it (2xx).
    Done,
    /// The receiver wants no more (410).
    Gone,
    /// It is to be tried again.
    Failed {
        /// Why, for people.
        why: String,
        /// How long the receiver wants to be left alone.
        wait: Option<Duration>,
    },
}

/// A client that reaches only where a webhook may go. Clones share its connections.
#[derive(Clone)]
pub struct WebhookClient {
    reach: Reach,
    time_limit: Duration,
    encrypted: Client,
    plain: Client,
}

impl WebhookClient {
    /// A client that trusts these authorities. It follows no redirect and uses no proxy.
    ///
    /// # Errors
    /// The system gives it no resources.
    pub fn new(reach: Reach, tls: &Tls) -> Result<WebhookClient, String> {
        let client = |encrypted: bool| {
            http_client()
                .tls_backend_preconfigured(tls.client_config()?)
                .dns_resolver(Guard { reach: reach.clone(), encrypted })
                .redirect(Policy::none())
                .no_proxy()
                .referer(false)
                .http1_only()
                .user_agent(concat!("taskd/", env!("CARGO_PKG_VERSION")))
                .pool_idle_timeout(IDLE)
                .pool_max_idle_per_host(IDLE_CONNECTIONS)
                .build()
                .map_err(|error| error.to_string())
        };
        let (encrypted, plain) = (client(true)?, client(false)?);
        Ok(WebhookClient { reach, time_limit: TIME_LIMIT, encrypted, plain })
    }

    /// The same with another time limit.
    pub fn within(self, time_limit: Duration) -> WebhookClient {
        WebhookClient { time_limit, ..self }
    }

    /// Sends a delivery once.
    pub async fn send(&self, delivery: &Delivery) -> Attempt {
        let began = Instant::now();
        let answered = async {
            let response = self.post(delivery).await?;
            Ok((response.status(), response.headers().clone(), beginning(response).await))
        };
        let (status, answer, outcome) = match tokio::time::timeout(self.time_limit, answered).await
        {
            Ok(Ok((status, headers, answer))) => (Some(status), answer, meaning(status, &headers)),
            Ok(Err(why)) => (None, String::new(), Outcome::Failed { why, wait: None }),
            Err(_) => {
                let why = format!("no answer within {} s", self.time_limit.as_secs_f64());
                (None, String::new(), Outcome::Failed { why, wait: None })
            }
        };
        let status = status.map(|status| status.as_u16());
        Attempt { status, answer, took: began.elapsed(), outcome }
    }

    async fn post(&self, delivery: &Delivery) -> Result<Response, String> {
        // What is allowed may have changed since the URL was set.
        let url =
            self.reach.read(&delivery.url).map_err(|NotAllowed(why)| format!("the URL {why}"))?;
        let client = if url.scheme() == "https" { &self.encrypted } else { &self.plain };
        let timestamp = Utc::now().timestamp();
        let signed = signature(&delivery.secrets, &delivery.id, timestamp, &delivery.body);
        let request = client
            .post(url)
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", &delivery.id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signed)
            .body(delivery.body.clone());
        request.send().await.map_err(|error| innermost(&error.without_url()))
    }
}

/// The beginning of an answer's body; whatever comes after it, or goes wrong, is left.
async fn beginning(mut response: Response) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < ANSWER_BYTES {
        let Ok(Some(chunk)) = response.chunk().await else { break };
        bytes.extend_from_slice(&chunk[..chunk.len().min(ANSWER_BYTES - bytes.len())]);
    }
    // The database takes no NUL.
    String::from_utf8_lossy(&bytes).replace('\0', "\u{fffd}")
}

fn meaning(status: StatusCode, headers: &HeaderMap) -> Outcome {
    match status {
        StatusCode::GONE => Outcome::Gone,
        status if status.is_success() => Outcome::Done,
        status if status.is_redirection() => {
            let why = format!("answered {}, and no redirect is followed", status.as_u16());
            Outcome::Failed { why, wait: None }
        }
        status => {
            let wait = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
            let why = format!("answered {}", status.as_u16());
            Outcome::Failed { why, wait: wait.and_then(|text| wait_of(text, Utc::now())) }
        }
    }
}

/// The time in a `Retry-After` (RFC 9110, section 10.2.3): seconds, or a date.
fn wait_of(text: &str, now: DateTime<Utc>) -> Option<Duration> {
    let wait = match text.trim().parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let at = DateTime::parse_from_rfc2822(text.trim()).ok()?;
            (at.with_timezone(&Utc) - now).to_std().ok()?
        }
    };
    Some(wait.min(LONGEST_WAIT))
}

/// What went wrong at the bottom of an error.
fn innermost(error: &dyn Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    crate::ground::tls::with_advice(innermost)
}

/// Looks names up, and knows only addresses that may be connected to. A literal address in a URL
/// never comes here: [`Reach::read`] checks it.
struct Guard {
    reach: Reach,
    encrypted: bool,
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let (reach, encrypted) = (self.reach.clone(), self.encrypted);
        Box::pin(async move {
            // Whether a name is known inside is nobody's business: one that is not is told alike.
            let found = tokio::net::lookup_host((name.as_str(), 0)).await;
            Ok(admitted(found.into_iter().flatten(), &reach, encrypted)?)
        })
    }
}

fn admitted(
    found: impl Iterator<Item = SocketAddr>,
    reach: &Reach,
    encrypted: bool,
) -> Result<Addrs, NotAllowed> {
    let admitted: Vec<SocketAddr> =
        found.filter(|address| reach.admits(address.ip(), encrypted)).collect();
    if admitted.is_empty() {
        let internet = if encrypted { "the public internet" } else { "a network of WEBHOOK_ALLOW" };
        return Err(NotAllowed(format!("the host has no address in {internet}")));
    }
    Ok(Box::new(admitted.into_iter()))
}

#[cfg(test)]
mod tests;

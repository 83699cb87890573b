//! Sends spans to a collector by OTLP over HTTP, in batches and beside the work: nothing waits for
//! a collector, and what it doesn't take is dropped.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::KeyValue;
use opentelemetry_otlp::{Protocol, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use url::Url;

use super::client::{Client, Lost};
use super::names;
use crate::ground::tls::{self, Tls};

/// How often a collector that takes nothing is worth a line in the log.
const WARN_EVERY: Duration = Duration::from_secs(600);

/// Where spans are sent: the collector's URL, with the path for traces.
#[derive(Debug, Clone)]
pub struct Endpoint(Url);

impl FromStr for Endpoint {
    type Err = String;

    /// Reads a base URL such as `http://localhost:4318`; `v1/traces` is added to its path.
    fn from_str(text: &str) -> Result<Endpoint, String> {
        const LIKE: &str = "must be like http://localhost:4318 or https://collector.example.com";
        let mut url: Url = text.parse().map_err(|_| LIKE.to_owned())?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(LIKE.to_owned());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("must have no user and no password: OTEL_EXPORTER_OTLP_HEADERS is the \
                        place for a secret"
                .to_owned());
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(format!("must have nothing after its path: it {LIKE}"));
        }
        let path = format!("{}/v1/traces", url.path().trim_end_matches('/'));
        url.set_path(&path);
        Ok(Endpoint(url))
    }
}

impl Endpoint {
    pub(super) fn is_encrypted(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// Host and port.
    pub(super) fn place(&self) -> (String, u16) {
        let port = self.0.port_or_known_default().unwrap_or_default();
        (self.0.host_str().unwrap_or_default().to_owned(), port)
    }

    /// Host and port as a request has them: without a port that goes without saying.
    pub(super) fn authority(&self) -> String {
        self.0.authority().to_owned()
    }
}

/// Headers of each request to the collector. Their values are secret.
#[derive(Clone, Default)]
pub struct Headers(HeaderMap);

impl FromStr for Headers {
    type Err = String;

    /// Reads `name=value,name=value`, with percent-encoding.
    fn from_str(text: &str) -> Result<Headers, String> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs(text, "api-key=secret")? {
            let name = HeaderName::from_str(&name)
                .map_err(|_| format!("{name:?} can't be the name of a header"))?;
            // The value is a secret: the complaint doesn't repeat it.
            let mut value = HeaderValue::from_str(&value)
                .map_err(|_| format!("the value of {name} can't be that of a header"))?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        Ok(Headers(headers))
    }
}

impl Headers {
    /// Adds them to those of a request, in the place of any of the same names.
    pub(super) fn add_to(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.0 {
            headers.insert(name.clone(), value.clone());
        }
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}

/// What is said of this process besides its name and version.
#[derive(Debug, Clone, Default)]
pub struct ResourceAttributes(Vec<(String, String)>);

impl FromStr for ResourceAttributes {
    type Err = String;

    /// Reads `name=value,name=value`, with percent-encoding.
    fn from_str(text: &str) -> Result<ResourceAttributes, String> {
        pairs(text, "deployment.environment.name=production").map(ResourceAttributes)
    }
}

fn pairs(text: &str, example: &str) -> Result<Vec<(String, String)>, String> {
    let decoded = |text: &str| {
        let text = percent_encoding::percent_decode_str(text.trim()).decode_utf8();
        text.map(|text| text.into_owned()).ok()
    };
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    let read = parts.map(|part| {
        let (name, value) = part.split_once('=').filter(|(name, _)| !name.trim().is_empty())?;
        Some((decoded(name)?, decoded(value)?))
    });
    let malformed = || format!("must be pairs such as {example}, with commas between them");
    read.collect::<Option<Vec<_>>>().ok_or_else(malformed)
}

/// What is said of this process in each batch.
pub(super) fn resource(service: &str, attributes: &ResourceAttributes) -> Resource {
    let host = gethostname::gethostname().to_string_lossy().into_owned();
    let own = [
        (names::SERVICE_VERSION, env!("CARGO_PKG_VERSION").to_owned()),
        (names::SERVICE_INSTANCE_ID, format!("{host}-{}", std::process::id())),
        (names::SERVICE_NAME, service.to_owned()),
    ];
    let given = attributes.0.iter().map(|(name, value)| KeyValue::new(name.clone(), value.clone()));
    // What the operator says of the process takes precedence, and the name has a variable of its
    // own.
    let (name, defaults) = (own[2].clone(), own[..2].to_vec());
    Resource::builder()
        .with_attributes(defaults.into_iter().map(|(name, value)| KeyValue::new(name, value)))
        .with_attributes(given)
        .with_attribute(KeyValue::new(name.0, name.1))
        .build()
}

/// The exporter, which sends in the runtime in which this is called.
pub(super) fn exporter(
    endpoint: &Endpoint,
    headers: &Headers,
    tls: &Tls,
) -> Result<impl SpanExporter + 'static, String> {
    let lost = Lost::default();
    let client = Client::new(endpoint, headers.clone(), tls, lost.clone())?;
    let otlp = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_headers(HashMap::new())
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(endpoint.0.as_str())
        .build()
        .map_err(|error| error.to_string())?;
    Ok(Watched { otlp, lost, trouble: Mutex::default() })
}

/// Tells when the collector takes nothing, and when it does again; the library keeps that to
/// itself.
#[derive(Debug)]
struct Watched {
    otlp: opentelemetry_otlp::SpanExporter,
    lost: Lost,
    /// When the log last told of the trouble that goes on.
    trouble: Mutex<Option<Instant>>,
}

impl Watched {
    fn note(&self, outcome: &OTelSdkResult, spans: usize) {
        let mut trouble = self.trouble.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match outcome {
            Ok(()) => {
                if trouble.take().is_some() {
                    tracing::info!("traces are sent again");
                }
            }
            Err(error) if trouble.is_none_or(|told| told.elapsed() > WARN_EVERY) => {
                *trouble = Some(Instant::now());
                let why = self.lost.take().unwrap_or_else(|| error.to_string());
                let error = tls::with_advice(why);
                tracing::warn!(
                    error,
                    spans,
                    "OTEL_EXPORTER_OTLP_ENDPOINT takes no traces; they are dropped until it does"
                );
            }
            Err(_) => {}
        }
    }
}

impl SpanExporter for Watched {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let outcome = self.otlp.export(batch).await;
        self.note(&outcome, spans);
        outcome
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.otlp.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.otlp.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.otlp.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_base_and_has_no_secret_in_it() {
        for (text, url) in [
            ("http://localhost:4318", "http://localhost:4318/v1/traces"),
            ("https://c.example/otlp/", "https://c.example/otlp/v1/traces"),
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().0.as_str(), url);
        }
        for bad in ["", "localhost:4318", "grpc://h:4317", "http://", "http://h?x=1"] {
            assert!(
                bad.parse::<Endpoint>().unwrap_err().contains("http://localhost:4318"),
                "{bad}"
            );
        }
        let told = "http://u:hunter2@h".parse::<Endpoint>().unwrap_err();
        assert!(told.contains("OTEL_EXPORTER_OTLP_HEADERS") && !told.contains("hunter2"), "{told}");
    }

    #[test]
    fn headers_are_never_shown() {
        let headers: Headers = "authorization=Bearer%20hunter2, x-scope=a,".parse().unwrap();
        assert_eq!(headers.0["authorization"], "Bearer hunter2");
        assert_eq!(headers.0["x-scope"], "a");
        assert!(!format!("{headers:?}").contains("hunter2"), "{headers:?}");
        for bad in ["hunter2", "=hunter2", "a b=hunter2", "a=hunter2%0a"] {
            let told = bad.parse::<Headers>().unwrap_err();
            assert!(!told.contains("hunter2"), "{told}");
        }
    }
}

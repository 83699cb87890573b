//! Where traces go, by the variables that all programs with OpenTelemetry share
//! (<https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>).

use clap::{Args, ValueEnum};

use super::ConfigError;
use crate::ground::secret::Secret;
use crate::ground::tls::Tls;
use crate::ground::traces::{self, Headers, ResourceAttributes, Sampling, SamplingKind, Settings};

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";

/// How traces are told.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Telemetry")]
pub struct TelemetryArgs {
    /// Where traces are sent by OTLP, such as http://localhost:4318; without it there are none
    #[arg(long, env = ENDPOINT, value_name = ENDPOINT, hide_env_values = true)]
    otlp_endpoint: Option<Secret>,
    /// Headers for the collector, as name=value with commas between them
    #[arg(long, env = HEADERS, value_name = HEADERS, hide_env_values = true)]
    otlp_headers: Option<Secret>,
    /// How the collector is spoken to; no other protocol is supported
    #[arg(
        long,
        env = "OTEL_EXPORTER_OTLP_PROTOCOL",
        value_name = "OTEL_EXPORTER_OTLP_PROTOCOL",
        default_value = "http/protobuf"
    )]
    otlp_protocol: OtlpProtocol,
    /// What this program is called in traces
    #[arg(long, env = "OTEL_SERVICE_NAME", value_name = "OTEL_SERVICE_NAME",
          default_value = "taskd", value_parser = super::name)]
    otel_service_name: String,
    /// What else traces say of this process, as name=value with commas between them
    #[arg(long, env = "OTEL_RESOURCE_ATTRIBUTES", value_name = "OTEL_RESOURCE_ATTRIBUTES",
          value_parser = unless_empty::<ResourceAttributes>)]
    otel_resource_attributes: Option<Given<ResourceAttributes>>,
    /// Which traces are kept
    #[arg(
        long,
        env = "OTEL_TRACES_SAMPLER",
        value_name = "OTEL_TRACES_SAMPLER",
        default_value = "parentbased_always_on"
    )]
    otel_traces_sampler: SamplingKind,
    /// The part of the traces that a sampler by ratio keeps, from 0 to 1
    #[arg(long, env = "OTEL_TRACES_SAMPLER_ARG", value_name = "OTEL_TRACES_SAMPLER_ARG",
          default_value = "1", value_parser = ratio)]
    otel_traces_sampler_arg: f64,
}

/// The protocols of OTLP that are supported: the one that needs no second client of HTTP.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum OtlpProtocol {
    #[value(name = "http/protobuf")]
    HttpProtobuf,
}

/// A value, unless the variable is empty, which means the same as unset to all programs that read
/// these.
#[derive(Debug, Clone)]
struct Given<T>(Option<T>);

fn unless_empty<T: std::str::FromStr<Err = String>>(text: &str) -> Result<Given<T>, String> {
    if text.is_empty() { Ok(Given(None)) } else { text.parse().map(|value| Given(Some(value))) }
}

fn ratio(text: &str) -> Result<f64, String> {
    let ratio = text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
    ratio.ok_or_else(|| "must be a number from 0 to 1, such as 0.01".to_owned())
}

impl TelemetryArgs {
    /// Begins to trace if there is an endpoint. Call it inside the runtime.
    ///
    /// # Errors
    /// The headers can't be read, or the client for the endpoint can't be made.
    pub fn start(&self, tls: &Tls) -> Result<(), ConfigError> {
        let headers = self.otlp_headers.as_ref().map_or("", Secret::expose);
        let headers: Headers =
            headers.parse().map_err(|why: String| ConfigError::new(HEADERS, why))?;
        let OtlpProtocol::HttpProtobuf = self.otlp_protocol;
        let endpoint = self.otlp_endpoint.as_ref().map_or("", Secret::expose);
        if endpoint.is_empty() {
            return Ok(());
        }
        // It may have a password in it by mistake, which a complaint must not repeat.
        let endpoint = endpoint.parse().map_err(|why: String| ConfigError::new(ENDPOINT, why))?;
        let attributes = self.otel_resource_attributes.clone().and_then(|given| given.0);
        let settings = Settings {
            endpoint,
            headers,
            service: self.otel_service_name.clone(),
            attributes: attributes.unwrap_or_default(),
            sampling: Sampling {
                kind: self.otel_traces_sampler,
                ratio: self.otel_traces_sampler_arg,
            },
        };
        traces::start(&settings, tls).map_err(|why| ConfigError::new(ENDPOINT, why))
    }
}

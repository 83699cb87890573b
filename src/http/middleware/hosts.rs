//! Protects an instance that requires no token from DNS rebinding: a web page can point its own
//! host name at this machine's address, and have the browser of a user here send requests to it.

use std::net::IpAddr;
use std::str::FromStr;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HOST, ORIGIN};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, ResponseError};

use crate::http::AppState;
use crate::http::error::ApiError;
use crate::http::middleware::cors::Origins;

/// Host names under which an instance is served, in addition to the loopback names.
#[derive(Debug, Clone, Default)]
pub struct Hosts(Vec<String>);

impl FromStr for Hosts {
    type Err = String;

    fn from_str(text: &str) -> Result<Hosts, String> {
        let name = |part: &str| {
            let part = part.trim();
            let bare = part.strip_prefix('[').and_then(|part| part.strip_suffix(']'));
            let is_name = |part: &str| {
                let fits = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
                !part.is_empty() && part.len() <= 253 && part.bytes().all(fits)
            };
            let is_address = bare.unwrap_or(part).parse::<IpAddr>().is_ok();
            if !is_address && !is_name(part) {
                return Err(format!(
                    "{part:?} is no name of a host: names have commas between them, and no scheme and no \
                     port, such as tasks.example.com"
                ));
            }
            Ok(bare.unwrap_or(part).trim_end_matches('.').to_ascii_lowercase())
        };
        text.split(',').map(name).collect::<Result<_, _>>().map(Hosts)
    }
}

impl Hosts {
    /// Whether a host, with or without a port, is one of these or can only be this machine.
    fn has(&self, authority: &str) -> bool {
        let Some((host, _)) = parts(authority) else { return false };
        let address = host.parse::<IpAddr>();
        address.is_ok_and(|address| address.to_canonical().is_loopback())
            || host == "localhost"
            || host.ends_with(".localhost")
            || self.0.contains(&host)
    }
}

/// What [`guard`] lets in.
#[derive(Debug, Clone)]
pub struct AllowedHosts {
    /// The names under which the instance is served.
    pub hosts: Hosts,
    /// The origins whose pages may use it.
    pub origins: Option<Origins>,
}

/// The host in lower case, without brackets and final dot, and the port.
fn parts(authority: &str) -> Option<(String, Option<u16>)> {
    let (host, rest) = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let port = match rest.strip_prefix(':') {
        None if rest.is_empty() => None,
        None => return None,
        Some(digits) => Some(digits.parse().ok()?),
    };
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    if host.is_empty() { None } else { Some((host, port)) }
}

/// Whether an origin is that of the requested host itself, whichever scheme a proxy in front uses.
pub(in crate::http) fn is_own(origin: &str, host: &str) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let usual = match scheme {
        "http" => 80,
        "https" => 443,
        _ => return false,
    };
    match (parts(authority), parts(host)) {
        (Some((one, port)), Some((other, asked))) => {
            one == other && port.unwrap_or(usual) == asked.unwrap_or(usual)
        }
        _ => false,
    }
}

/// Refuses requests for another host, and from pages of another origin. An instance that requires
/// tokens needs no such check: a page has no token.
pub async fn guard<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let anybody =
        request.app_data::<Data<AppState>>().is_some_and(|state| state.common.policy.anybody);
    if anybody
        && request.path() != "/healthz"
        && let Err(error) = check(&request)
    {
        return Ok(request.into_response(error.error_response()));
    }
    Ok(next.call(request).await?.map_into_boxed_body())
}

fn check(request: &ServiceRequest) -> Result<(), ApiError> {
    let allowed = request.app_data::<Data<AllowedHosts>>().ok_or(ApiError::Internal)?;
    let foreign = ApiError::Forbidden(
        "this instance asks nobody for a token, so it is served as localhost alone: ask for it by that \
         name, name another in ALLOWED_HOSTS, or set TASKD_AUTH=tokens",
    );
    let asked: Vec<&str> =
        request.headers().get_all(HOST).map(|value| value.to_str().unwrap_or_default()).collect();
    let target = request.uri().authority().map(|authority| authority.as_str());
    let [host] = asked.as_slice() else { return Err(foreign) };
    if !allowed.hosts.has(host) || target.is_some_and(|target| !allowed.hosts.has(target)) {
        return Err(foreign);
    }
    for origin in request.headers().get_all(ORIGIN) {
        let origin = origin.to_str().unwrap_or_default();
        let named = allowed.origins.as_ref().is_some_and(|origins| origins.have(origin));
        if !named && !is_own(origin, host) {
            return Err(ApiError::Forbidden(
                "pages of another origin may not use this instance: name the origin in CORS_ORIGINS",
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_and_those_named_are_served() {
        let hosts: Hosts = "tasks.example.com, 192.0.2.1,[2001:db8::1]".parse().unwrap();
        for own in [
            "localhost",
            "LOCALHOST:3000",
            "localhost.",
            "a.localhost:1",
            "127.0.0.1",
            "127.9.9.9:80",
            "[::1]:3000",
            "[::ffff:127.0.0.1]",
            "tasks.example.com",
            "Tasks.Example.com:443",
            "192.0.2.1:1",
            "[2001:db8::1]",
        ] {
            assert!(hosts.has(own), "{own}");
        }
        for foreign in [
            "",
            ":80",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "evil.example:3000",
            "192.0.2.2",
            "0.0.0.0",
            "[::]",
            "localhost:x",
            "localhost@evil.example",
            "xlocalhost",
            "[::1]x",
        ] {
            assert!(!hosts.has(foreign), "{foreign}");
        }
        for wrong in ["", "https://a", "a:80", "a,,b", "*", "a b"] {
            assert!(wrong.parse::<Hosts>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_origin_is_ones_own_with_the_same_name_and_port() {
        for (origin, host) in [
            ("http://localhost:3000", "localhost:3000"),
            ("http://[::1]:3000", "[::1]:3000"),
            ("https://tasks.example.com", "tasks.example.com"),
            ("http://localhost", "LOCALHOST:80"),
        ] {
            assert!(is_own(origin, host), "{origin} {host}");
        }
        for (origin, host) in [
            ("null", "localhost:3000"),
            ("http://evil.example", "localhost:3000"),
            ("http://localhost:8080", "localhost:3000"),
            ("http://127.0.0.1:3000", "localhost:3000"),
            ("file://localhost:3000", "localhost:3000"),
        ] {
            assert!(!is_own(origin, host), "{origin} {host}");
        }
    }
}

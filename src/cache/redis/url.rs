//! The URL of a Redis server.

use std::fmt;

use deadpool_redis::redis::{Client, ConnectionInfo, TlsCertificates};

use crate::ground::service_url::ServiceUrl;
use crate::ground::tls::{self, Tls};

/// A Redis server's URL, checked, with the certificates to trust.
#[derive(Clone)]
pub struct RedisUrl {
    shown: String,
    pub(super) information: ConnectionInfo,
}

impl RedisUrl {
    /// Parses `redis://user:password@host:port/number`. With `rediss` the server must have a
    /// trusted certificate that names the host.
    ///
    /// # Errors
    /// A sentence for the operator, which doesn't show the password.
    pub fn parse(text: &str, tls: &Tls) -> Result<RedisUrl, String> {
        if text.contains("#insecure") {
            return Err("#insecure is not supported: certificates are always checked".into());
        }
        let url = ServiceUrl::parse(text, &["redis", "rediss"], "redis://:password@host:6379/0")?;
        if url.host()?.is_none() {
            return Err("names no host: it must be like redis://host:6379/0".into());
        }
        if !url.path.is_empty() && url.path.parse::<u16>().is_err() {
            return Err("what follows the host must be the number of a database, such as /0".into());
        }
        for (name, value) in &url.parameters {
            if name != "protocol" {
                return Err(format!("the only parameter is protocol=resp2 or resp3, not {name:?}"));
            }
            if !["resp2", "resp3", "2", "3"].contains(&value.as_str()) {
                return Err(format!("the protocol must be resp2 or resp3, not {value:?}"));
            }
        }
        let client = match url.scheme.as_str() {
            "redis" => Client::open(url.encoded()),
            _ => {
                // The client makes its own TLS configuration, from this provider and these
                // certificates.
                tls::provider();
                let authorities = tls.authorities_as_pem();
                let trusted = TlsCertificates { client_tls: None, root_cert: Some(authorities) };
                Client::build_with_tls(url.encoded(), trusted)
            }
        };
        let client = client.map_err(|error| format!("can't be used: {error}"))?;
        Ok(RedisUrl { shown: url.to_string(), information: client.get_connection_info().clone() })
    }
}

/// Shows the URL without the password.
impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_decoded_and_its_parts_are_checked() {
        let tls = Tls::default();
        let url = RedisUrl::parse("redis://a%40b:p@$@h:7/3?protocol=resp3", &tls).unwrap();
        let settings = url.information.redis_settings();
        assert_eq!((settings.username(), settings.password()), (Some("a@b"), Some("p@$")));
        assert_eq!((url.information.addr().to_string(), settings.db()), ("h:7".to_owned(), 3));
        assert_eq!(url.to_string(), "redis://a%40b:***@h:7/3?protocol=resp3");
        for (bad, says) in [
            ("redis://:hunter2@h/first", "number of a database"),
            ("redis://:hunter2@h/-1", "number of a database"),
            ("redis://:hunter2@", "names no host"),
            ("redis://:hunter2@h?db=1", "not \"db\""),
            ("redis://:hunter2@h?protocol=resp9", "must be resp2 or resp3, not \"resp9\""),
            ("rediss://:hunter2@h/0#insecure", "always checked"),
            ("http://:hunter2@h", "redis or rediss"),
            ("h:6379", "redis://:password@host:6379/0"),
        ] {
            let error = RedisUrl::parse(bad, &tls).err().unwrap();
            assert!(error.contains(says) && !error.contains("hunter2"), "{bad}: {error}");
        }
    }
}

//! Where a Redis server is, and how it is reached.

use std::fmt;

use deadpool_redis::redis::{Client, ConnectionAddr, ConnectionInfo, TlsCertificates};
use url::Url;

use crate::secret::without_password;
use crate::tls::{self, Tls};

/// Where a Redis server is.
#[derive(Clone)]
pub struct RedisUrl {
    shown: String,
    pub(super) information: ConnectionInfo,
}

impl RedisUrl {
    /// Reads `redis://user:password@host:port/number`. With `rediss` the server has to have a
    /// certificate that is trusted and names the host.
    ///
    /// # Errors
    /// A sentence without the password.
    pub fn parse(text: &str, tls: &Tls) -> Result<RedisUrl, String> {
        let url = Url::parse(text).map_err(|e| format!("not a URL: {e}"))?;
        let client = match url.scheme() {
            "redis" => Client::open(text),
            "rediss" => {
                // The client makes its own configuration, of this provider and these certificates.
                tls::provider();
                let authorities = tls.authorities_as_pem();
                let trusted = TlsCertificates { client_tls: None, root_cert: Some(authorities) };
                Client::build_with_tls(text, trusted)
            }
            other => return Err(format!("the scheme must be redis or rediss, not {other:?}")),
        };
        let information = client.map_err(|e| e.to_string())?.get_connection_info().clone();
        if matches!(information.addr(), ConnectionAddr::TcpTls { insecure: true, .. }) {
            return Err("#insecure is not supported: certificates are always checked".into());
        }
        Ok(RedisUrl { shown: without_password(text), information })
    }
}

/// Without the password.
impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

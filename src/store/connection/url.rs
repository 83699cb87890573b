//! Reads and checks the URL of the database.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, SslNegotiation, TargetSessionAttrs};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::ground::service_url::ServiceUrl;
use crate::ground::tls::Tls;

/// A PostgreSQL URL: its hosts, and how to connect to them.
#[derive(Clone)]
pub struct PostgresUrl {
    shown: String,
    /// One configuration for each host, in the order in which they are tried.
    pub(in crate::store) hosts: Vec<Config>,
    /// The index of the host that served last.
    pub(in crate::store) serving: Arc<AtomicUsize>,
    /// Whether read-only servers are passed over.
    pub(in crate::store) must_take_writes: bool,
    /// `None` if nothing is encrypted.
    pub(in crate::store) tls: Option<MakeRustlsConnect>,
}

impl PostgresUrl {
    /// Reads `postgres://user:password@host:5432/database?sslmode=…`.
    ///
    /// `sslmode` is libpq's (<https://www.postgresql.org/docs/current/libpq-ssl.html>), but
    /// stricter: a TLS server must have a trusted certificate that names the host. So `require` and
    /// `verify-ca` are the same as `verify-full`, and `prefer` falls back to plain text with a
    /// server that offers no TLS, never with one whose certificate is bad. Without an `sslmode`
    /// nothing is encrypted.
    ///
    /// Several hosts are separated by commas. Unless `target_session_attrs` is `any`, the first
    /// host that takes writes is used, so a failover needs no restart.
    ///
    /// # Errors
    /// A sentence that says what is wrong, without the password.
    pub fn parse(text: &str, tls: &Tls) -> Result<PostgresUrl, String> {
        const EXAMPLE: &str = "postgres://user:password@host:5432/database";
        let mut url = ServiceUrl::parse(text, &["postgres", "postgresql"], EXAMPLE)?;
        let shown = url.to_string();
        let mode = check_parameters(&mut url)?;
        let mut config = Config::from_str(&url.encoded()).map_err(|error| {
            // The cause names the parameter, which the client's own text leaves out.
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            format!("can't be used: {}", cause.unwrap_or_else(|| error.to_string()))
        })?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(format!("names no host: it must be like {EXAMPLE}"));
        }
        // The client's own default is to prefer TLS. Since certificates are checked, that would
        // fail where plain text has always worked.
        if !mode {
            config.ssl_mode(SslMode::Disable);
        }
        let tls = match config.get_ssl_mode() {
            SslMode::Disable => None,
            _ => {
                let mut client = tls.client_config()?;
                if config.get_ssl_negotiation() == SslNegotiation::Direct {
                    // A server requires ALPN for direct negotiation.
                    client.alpn_protocols = vec![b"postgresql".to_vec()];
                }
                Some(MakeRustlsConnect::new(client))
            }
        };
        let must_take_writes = config.get_target_session_attrs() == TargetSessionAttrs::ReadWrite;
        let hosts = one_for_each_host(&config)?;
        Ok(PostgresUrl { shown, hosts, serving: Arc::default(), must_take_writes, tls })
    }

    /// The host at this index, with its port.
    pub(in crate::store) fn host_name(&self, index: usize) -> String {
        let host = self.hosts.get(index);
        let port = host.and_then(|host| host.get_ports().first()).copied().unwrap_or(5432);
        match host.and_then(|host| host.get_hosts().first()) {
            Some(Host::Tcp(name)) => format!("{name}:{port}"),
            Some(Host::Unix(path)) => path.display().to_string(),
            None => String::new(),
        }
    }
}

/// One configuration for each host. A port belongs to the host at the same index; a single port
/// belongs to all hosts.
fn one_for_each_host(config: &Config) -> Result<Vec<Config>, String> {
    let (names, addresses) = (config.get_hosts(), config.get_hostaddrs());
    let (ports, count) = (config.get_ports(), names.len().max(addresses.len()));
    if count == 0 {
        return Err("names no host".into());
    }
    if !names.is_empty() && !addresses.is_empty() && names.len() != addresses.len() {
        return Err("has another number of hosts than of hostaddr".into());
    }
    if ports.len() > 1 && ports.len() != count {
        return Err("has another number of ports than of hosts".into());
    }
    let one = |index: usize| {
        let mut one = Config::new();
        if let Some(user) = config.get_user() {
            one.user(user);
        }
        if let Some(password) = config.get_password() {
            one.password(password);
        }
        if let Some(name) = config.get_dbname() {
            one.dbname(name);
        }
        if let Some(options) = config.get_options() {
            one.options(options);
        }
        one.application_name(config.get_application_name().unwrap_or("taskd"));
        one.ssl_mode(config.get_ssl_mode()).ssl_negotiation(config.get_ssl_negotiation());
        one.channel_binding(config.get_channel_binding());
        one.port(ports.get(index).or(ports.first()).copied().unwrap_or(5432));
        match (names.get(index), addresses.get(index)) {
            (Some(Host::Unix(path)), _) => one.host_path(path),
            (Some(Host::Tcp(name)), _) => one.host(name),
            (None, Some(address)) => one.host(address.to_string()),
            (None, None) => &mut one,
        };
        if let Some(address) = addresses.get(index) {
            one.hostaddr(*address);
        }
        one
    };
    Ok((0..count).map(one).collect())
}

/// Shows the URL without the password.
impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// The parameters that the client takes besides `sslmode`
/// (<https://docs.rs/tokio-postgres/latest/tokio_postgres/config/struct.Config.html>).
const PARAMETERS: [&str; 16] = [
    "application_name",
    "channel_binding",
    "connect_timeout",
    "dbname",
    "host",
    "hostaddr",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "load_balance_hosts",
    "options",
    "password",
    "port",
    "sslnegotiation",
    "user",
];

/// Translates `sslmode` and `target_session_attrs` for the client. Returns whether there is an
/// `sslmode`.
fn check_parameters(url: &mut ServiceUrl) -> Result<bool, String> {
    let (mut mode, mut told) = (false, false);
    for (name, value) in &mut url.parameters {
        match name.as_str() {
            "sslmode" => {
                mode = true;
                *value = match value.as_str() {
                    "disable" | "prefer" => continue,
                    "require" | "verify-ca" | "verify-full" => "require".into(),
                    _ => {
                        return Err("sslmode must be disable, prefer, require, verify-ca or \
                                    verify-full"
                            .into());
                    }
                };
            }
            "target_session_attrs" => {
                told = true;
                *value = match value.as_str() {
                    "any" => continue,
                    // A primary is wanted for its writes.
                    "read-write" | "primary" => "read-write".into(),
                    _ => {
                        return Err(
                            "target_session_attrs must be read-write or any: taskd writes".into()
                        );
                    }
                };
            }
            "sslrootcert" => {
                return Err("sslrootcert is not supported: name the file in TLS_CA_FILE".into());
            }
            "sslcert" | "sslkey" | "sslpassword" => {
                return Err(format!("{name}: certificates of the client are not supported"));
            }
            "schema" | "currentSchema" | "search_path" => {
                return Err(format!(
                    "has no parameter {name}: tables in another schema are found with \
                     ?options=-csearch_path%3DNAME"
                ));
            }
            name if PARAMETERS.contains(&name) => {}
            name => {
                return Err(format!(
                    "has no parameter {name:?}: there are sslmode, target_session_attrs, {}",
                    PARAMETERS.join(", ")
                ));
            }
        }
    }
    if !told {
        url.parameters.push(("target_session_attrs".into(), "read-write".into()));
    }
    Ok(mode)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(query: &str) -> Result<(SslMode, bool), String> {
        let url = PostgresUrl::parse(&format!("postgres://u:p?@h/d{query}"), &Tls::default())?;
        assert_eq!(url.hosts[0].get_password(), Some(b"p?".as_slice()));
        Ok((url.hosts[0].get_ssl_mode(), url.tls.is_some()))
    }

    #[test]
    fn sslmode_is_libpqs_and_plain_where_it_is_absent() {
        for plain in ["", "?application_name=x", "?sslmode=disable"] {
            assert_eq!(mode(plain), Ok((SslMode::Disable, false)), "{plain}");
        }
        assert_eq!(mode("?sslmode=prefer"), Ok((SslMode::Prefer, true)));
        for name in ["require", "verify-ca", "verify-full"] {
            let query = format!("?connect_timeout=3&sslmode={name}");
            assert_eq!(mode(&query), Ok((SslMode::Require, true)), "{name}");
        }
        for (bad, says) in [
            ("?sslmode=on", "verify-full"),
            ("?sslmode", "verify-full"),
            ("?sslmode=require&sslrootcert=/ca.pem", "TLS_CA_FILE"),
            ("?sslcert=/c.pem", "sslcert"),
            ("?schema=public", "has no parameter schema"),
            ("?pgbouncer=true", "\"pgbouncer\""),
            ("?connect_timeout=soon", "connect_timeout"),
            ("?ssl%6Dode=on", "verify-full"),
        ] {
            let error = mode(bad).unwrap_err();
            assert!(error.contains(says), "{bad}: {error}");
        }
    }

    #[test]
    fn several_hosts_are_asked_in_their_order_and_writes_are_wanted() {
        let parse = |text: &str| PostgresUrl::parse(text, &Tls::default());
        let url = parse("postgres://u:p@a:1,b,[::1]:3/d?connect_timeout=2").unwrap();
        let names: Vec<String> = (0..3).map(|index| url.host_name(index)).collect();
        assert_eq!(names, ["a:1", "b:5432", "::1:3"]);
        assert!(url.must_take_writes);
        for host in &url.hosts {
            assert_eq!((host.get_dbname(), host.get_hosts().len()), (Some("d"), 1));
            assert_eq!(host.get_application_name(), Some("taskd"));
        }
        let writes = |query: &str| {
            parse(&format!("postgres://a,b:2/d{query}")).map(|url| url.must_take_writes)
        };
        assert_eq!(writes("?target_session_attrs=any"), Ok(false));
        assert_eq!(writes("?target_session_attrs=primary&sslmode=disable"), Ok(true));
        assert!(writes("?target_session_attrs=standby").unwrap_err().contains("read-write or any"));
        let of_directory = parse("postgres://u@%2Frun%2Fpg/d").unwrap();
        assert_eq!(of_directory.host_name(0), "/run/pg");
        assert!(parse("postgres://a:1,b:2/d?port=1,2,3").is_err());
    }

    #[test]
    fn percent_encoding_is_read_everywhere() {
        assert_eq!(mode("?ssl%6Dode=re%71uire"), Ok((SslMode::Require, true)));
        let text = "postgres://a%40b:p@$%40@h%2Dx:7/d%20e?application_name=a%26b&options=-ca%3Db";
        let config = PostgresUrl::parse(text, &Tls::default()).unwrap().hosts.remove(0);
        assert_eq!(config.get_user(), Some("a@b"));
        assert_eq!(config.get_password(), Some(b"p@$@".as_slice()));
        assert_eq!(config.get_hosts(), [tokio_postgres::config::Host::Tcp("h-x".into())]);
        assert_eq!((config.get_ports(), config.get_dbname()), ([7].as_slice(), Some("d e")));
        assert_eq!(config.get_application_name(), Some("a&b"));
        assert_eq!(config.get_options(), Some("-ca=b"));
    }

    #[test]
    fn nothing_printed_has_the_password() {
        let url = PostgresUrl::parse("postgres://u:hunter2@h/d", &Tls::default()).unwrap();
        assert_eq!(url.to_string(), "postgres://u:***@h/d");
    }
}

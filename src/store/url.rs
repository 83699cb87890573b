//! Where the database is.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, SslNegotiation, TargetSessionAttrs};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::secret::without_password;
use crate::tls::Tls;

/// A PostgreSQL URL, and how its server is spoken to.
#[derive(Clone)]
pub struct PostgresUrl {
    shown: String,
    /// One for each host, in the order in which they are asked.
    pub(super) hosts: Vec<Config>,
    /// The host that served last.
    pub(super) serving: Arc<AtomicUsize>,
    /// Whether a server that can only be read is of no use.
    pub(super) must_take_writes: bool,
    /// Absent where nothing is encrypted.
    pub(super) tls: Option<MakeRustlsConnect>,
}

impl PostgresUrl {
    /// Reads `postgres://user:password@host:5432/database?sslmode=…`.
    ///
    /// `sslmode` is libpq's (<https://www.postgresql.org/docs/current/libpq-ssl.html>), but stricter:
    /// whoever is spoken to by TLS has to have a certificate that is trusted and names the host. So
    /// `require` and `verify-ca` are the same as `verify-full`, and `prefer` is plain with a server
    /// that offers no TLS, never with one whose certificate is bad. Without an `sslmode` nothing is
    /// encrypted.
    ///
    /// Several hosts have commas between them. Unless `target_session_attrs` is `any`, the first that
    /// takes writes is used, so a failover needs no restart.
    ///
    /// # Errors
    /// A sentence without the password.
    pub fn parse(text: &str, tls: &Tls) -> Result<PostgresUrl, String> {
        if !["postgres://", "postgresql://"].iter().any(|scheme| text.starts_with(scheme)) {
            return Err("must begin with postgres://".into());
        }
        let (text_for_client, mode) = with_known_parameters(text)?;
        let mut config = Config::from_str(&text_for_client)
            .map_err(|e| format!("can't be read as a PostgreSQL URL: {e}"))?;
        // The client's own default is to prefer TLS, which with a certificate that is checked
        // would fail where plain has always worked.
        if mode.is_none() {
            config.ssl_mode(SslMode::Disable);
        }
        let tls = match config.get_ssl_mode() {
            SslMode::Disable => None,
            _ => {
                let mut client = tls.client_config()?;
                if config.get_ssl_negotiation() == SslNegotiation::Direct {
                    // A server that is spoken to like this asks for it.
                    client.alpn_protocols = vec![b"postgresql".to_vec()];
                }
                Some(MakeRustlsConnect::new(client))
            }
        };
        let must_take_writes = config.get_target_session_attrs() == TargetSessionAttrs::ReadWrite;
        let (shown, hosts) = (without_password(text), one_for_each_host(&config)?);
        Ok(PostgresUrl { shown, hosts, serving: Arc::default(), must_take_writes, tls })
    }

    /// The host at this place, and its port.
    pub(super) fn host_name(&self, index: usize) -> String {
        let host = self.hosts.get(index);
        let port = host.and_then(|host| host.get_ports().first()).copied().unwrap_or(5432);
        match host.and_then(|host| host.get_hosts().first()) {
            Some(Host::Tcp(name)) => format!("{name}:{port}"),
            Some(Host::Unix(path)) => path.display().to_string(),
            None => String::new(),
        }
    }
}

/// The same for each host alone. A port is that of the host at its place, or everybody's.
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

/// Without the password.
impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// The URL with an `sslmode` and a `target_session_attrs` that the client knows, and that mode.
fn with_known_parameters(text: &str) -> Result<(String, Option<&'static str>), String> {
    // A question mark before the @ is part of the password.
    let host = text.find('@').map_or(0, |at| at + 1);
    let (mut mode, mut target) = (None, "read-write");
    let Some(question) = text[host..].find('?').map(|at| host + at + 1) else {
        return Ok((format!("{text}?target_session_attrs={target}"), None));
    };
    let mut parameters: Vec<String> = Vec::new();
    for parameter in text[question..].split('&') {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        match name {
            "sslmode" => {
                let known = match value {
                    "disable" => "disable",
                    "prefer" => "prefer",
                    "require" | "verify-ca" | "verify-full" => "require",
                    _ => {
                        return Err("sslmode must be disable, prefer, require, verify-ca or \
                                    verify-full"
                            .into());
                    }
                };
                mode = Some(known);
                parameters.push(format!("sslmode={known}"));
            }
            "target_session_attrs" => {
                target = match value {
                    "any" => "any",
                    // Of a server that is no standby writes are what is wanted.
                    "read-write" | "primary" => "read-write",
                    _ => {
                        return Err(
                            "target_session_attrs must be read-write or any: taskd writes".into()
                        );
                    }
                }
            }
            "sslrootcert" => {
                return Err("sslrootcert is not supported: name the file in TLS_CA_FILE".into());
            }
            "sslcert" | "sslkey" | "sslpassword" => {
                return Err(format!("{name}: certificates of the client are not supported"));
            }
            _ => parameters.push(parameter.to_owned()),
        }
    }
    parameters.push(format!("target_session_attrs={target}"));
    Ok((format!("{}{}", &text[..question], parameters.join("&")), mode))
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
    fn nothing_printed_has_the_password() {
        let url = PostgresUrl::parse("postgres://u:hunter2@h/d", &Tls::default()).unwrap();
        assert_eq!(url.to_string(), "postgres://u:***@h/d");
    }
}

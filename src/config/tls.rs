//! The TLS settings, which all clients of this process share.

use std::path::PathBuf;

use clap::Args;

use super::{ConfigError, path};
use crate::ground::tls::Tls;

/// Whom to trust.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "TLS")]
pub struct TlsArgs {
    /// A PEM file of authorities whose certificates are trusted besides the system's
    #[arg(long, env = "TLS_CA_FILE", value_name = "TLS_CA_FILE", value_parser = path)]
    tls_ca_file: Option<PathBuf>,
}

impl TlsArgs {
    /// The certificates to trust, with the file read.
    pub fn load(&self) -> Result<Tls, ConfigError> {
        match &self.tls_ca_file {
            None => Ok(Tls::default()),
            Some(file) => Tls::with_authorities(file)
                .map_err(|problem| ConfigError::new("TLS_CA_FILE", problem)),
        }
    }
}

//! A certificate authority for one test, and a wire that is listened in on.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::eventually;

pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// Its certificate, for TLS_CA_FILE.
    pub file: PathBuf,
}

/// A server's certificate and key, as PEM.
pub struct Identity {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    /// Its file is in this directory.
    pub fn new(directory: &Path, name: &str) -> Authority {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let file = directory.join(format!("{name}.pem"));
        std::fs::write(&file, issuer.pem()).unwrap();
        Authority { issuer, file }
    }

    pub fn path(&self) -> &str {
        self.file.to_str().unwrap()
    }

    /// A certificate for this name and no other.
    pub fn issue(&self, name: &str) -> Identity {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

impl Identity {
    pub fn acceptor(&self) -> TlsAcceptor {
        let certificate = CertificateDer::from_pem_slice(self.certificate.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap();
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(
            rustls::crypto::ring::default_provider(),
        ))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// Passes bytes on to a port of this machine, and keeps what clients have sent.
pub struct Wire {
    pub port: u16,
    state: Arc<Mutex<Tapped>>,
}

#[derive(Default)]
struct Tapped {
    sent: Vec<u8>,
    begun: usize,
    ended: usize,
}

impl Wire {
    pub async fn to(port: u16) -> Wire {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let wire = Wire { port: listener.local_addr().unwrap().port(), state: Arc::default() };
        let state = Arc::clone(&wire.state);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let state = Arc::clone(&state);
                state.lock().unwrap().begun += 1;
                tokio::spawn(async move {
                    // Either side may hang up, which ends this connection and nothing else.
                    drop(pass(client, port, &state).await);
                    state.lock().unwrap().ended += 1;
                });
            }
        });
        wire
    }

    /// Waits until clients have come and all have gone: what they sent is known whole only then.
    pub async fn quiet(&self) {
        eventually("the wire is quiet", || async {
            let state = self.state.lock().unwrap();
            (state.begun > 0 && state.ended == state.begun).then_some(())
        })
        .await;
    }

    /// Whether clients have sent anything that has these bytes in it.
    pub fn has(&self, text: &str) -> bool {
        self.state.lock().unwrap().sent.windows(text.len()).any(|bytes| bytes == text.as_bytes())
    }

    /// What clients have sent, for a message.
    pub fn shown(&self) -> String {
        self.state.lock().unwrap().sent.escape_ascii().to_string()
    }

    pub fn is_empty(&self) -> bool {
        self.state.lock().unwrap().sent.is_empty()
    }
}

async fn pass(client: TcpStream, port: u16, state: &Mutex<Tapped>) -> std::io::Result<()> {
    let server = TcpStream::connect(("127.0.0.1", port)).await?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let back = tokio::spawn(async move {
        let copied = tokio::io::copy(&mut from_server, &mut to_client).await;
        drop(to_client.shutdown().await);
        copied
    });
    let mut buffer = [0; 16 * 1024];
    loop {
        let read = from_client.read(&mut buffer).await?;
        if read == 0 {
            break;
        }
        state.lock().unwrap().sent.extend_from_slice(&buffer[..read]);
        to_server.write_all(&buffer[..read]).await?;
    }
    to_server.shutdown().await?;
    back.await?.map(drop)
}

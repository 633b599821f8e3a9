//! TLS: the certificate and its key, read again when their files change.

use anyhow::Context;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

/// How soon a renewed certificate is used.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What the server shows, and where it comes from.
#[derive(Debug)]
pub(crate) struct Certificate {
    file: PathBuf,
    key: PathBuf,
    current: RwLock<Arc<CertifiedKey>>,
}

/// What both files hold.
type Files = (Vec<u8>, Vec<u8>);

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl Certificate {
    /// Reads a certificate, with those between it and its root after it, and its key: PEM.
    ///
    /// # Errors
    /// When one cannot be read, or they do not belong together.
    pub(crate) fn load(file: &Path, key: &Path) -> anyhow::Result<Self> {
        let certified = certified(&read(file, key)?, file, key)?;
        Ok(Self { file: file.to_owned(), key: key.to_owned(), current: RwLock::new(Arc::new(certified)) })
    }

    /// What takes connections with it: TLS 1.2 and 1.3, HTTP/1.1.
    pub(crate) fn acceptor(self: &Arc<Self>) -> anyhow::Result<TlsAcceptor> {
        let config = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        let resolver: Arc<Self> = Arc::clone(self);
        let mut config = config.context("TLS cannot be set up")?.with_no_client_auth().with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// Uses what the files hold when they change, until `stop` says so. What is wrong with them is said, once, and the last
    /// that was right stays.
    pub(crate) async fn keep_fresh(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut seen = read(&self.file, &self.key).ok();
        while tokio::time::timeout(LOOK_EVERY, stop.wait_for(|stop| *stop)).await.is_err() {
            let (file, key) = (self.file.clone(), self.key.clone());
            let files = match tokio::task::spawn_blocking(move || read(&file, &key)).await {
                Ok(Ok(files)) => files,
                // In the middle of being replaced, perhaps: the next look says more.
                Ok(Err(_)) | Err(_) => continue,
            };
            if seen.as_ref() == Some(&files) {
                continue;
            }
            match certified(&files, &self.file, &self.key) {
                Ok(certified) => {
                    *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(certified);
                    tracing::info!(certificate = %self.file.display(), "the certificate was read again");
                }
                Err(error) => tracing::warn!(error = format!("{error:#}"), "the new certificate is not used"),
            }
            seen = Some(files);
        }
    }
}

/// ring's cryptography, here and in the client.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn read(file: &Path, key: &Path) -> anyhow::Result<Files> {
    let read = |path: &Path| std::fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    Ok((read(file)?, read(key)?))
}

fn certified((chain, secret): &Files, file: &Path, key: &Path) -> anyhow::Result<CertifiedKey> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<_, _>>()
        .with_context(|| format!("{} is not PEM", file.display()))?;
    anyhow::ensure!(!chain.is_empty(), "{} holds no certificate", file.display());
    // The error would repeat nothing of the key.
    let secret = PrivateKeyDer::from_pem_slice(secret)
        .with_context(|| format!("{} holds no private key in PEM", key.display()))?;
    CertifiedKey::from_der(chain, secret, &provider())
        .with_context(|| format!("{} and {} do not belong together", file.display(), key.display()))
}

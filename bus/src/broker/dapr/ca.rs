//! The certificate authorities that a sidecar elsewhere proves itself by.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tonic::transport::{Certificate, ClientTlsConfig};

/// Certificates of authorities, for sidecars whose own were not issued by one that this machine trusts. Cloning is cheap.
#[derive(Clone, PartialEq, Eq)]
pub struct Authorities {
    pem: Arc<[u8]>,
    certificates: Arc<[CertificateDer<'static>]>,
}

/// Why a file names no authority.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthoritiesError {
    /// The file cannot be read.
    #[error("the file {} cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// There is no certificate in it, or one that is none.
    #[error(
        "{origin} has no certificates in PEM, which begin with \"-----BEGIN CERTIFICATE-----\" ({reason})"
    )]
    NotPem {
        /// What was read.
        origin: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl AuthoritiesError {
    /// The stable code of this error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } | Self::NotPem { .. } => "sidecar_ca_invalid",
        }
    }
}

impl Authorities {
    /// The certificates of a file in PEM.
    ///
    /// # Errors
    /// [`AuthoritiesError`] when it cannot be read, or has none.
    pub fn from_file(path: &Path) -> Result<Self, AuthoritiesError> {
        let pem = std::fs::read(path)
            .map_err(|source| AuthoritiesError::Unreadable { path: path.to_owned(), source })?;
        Self::read(&pem, || format!("the file {}", path.display()))
    }

    /// These certificates in PEM.
    ///
    /// # Errors
    /// [`AuthoritiesError::NotPem`] when there are none.
    pub fn from_pem(pem: &[u8]) -> Result<Self, AuthoritiesError> {
        Self::read(pem, || "the text".to_owned())
    }

    fn read(pem: &[u8], origin: impl Fn() -> String) -> Result<Self, AuthoritiesError> {
        let fail = |reason: String| AuthoritiesError::NotPem { origin: origin(), reason };
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let certificates = certificates.map_err(|error| fail(error.to_string()))?;
        if certificates.is_empty() {
            return Err(fail("there is none".to_owned()));
        }
        let mut roots = RootCertStore::empty();
        for certificate in &certificates {
            roots.add(certificate.clone()).map_err(|error| fail(error.to_string()))?;
        }
        Ok(Self { pem: pem.into(), certificates: certificates.into() })
    }

    /// For the gRPC API: these alone are trusted.
    pub(super) fn trusted_by_grpc(&self) -> ClientTlsConfig {
        ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&self.pem))
    }

    /// For the HTTP API.
    pub(super) fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(self.certificates.iter().cloned());
        roots
    }
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorities").field("certificates", &self.certificates.len()).finish()
    }
}

//! Where the sidecar is.

use std::fmt;
use std::str::FromStr;

use tonic::transport::{ClientTlsConfig, Endpoint};

use super::Authorities;
use super::options::{CONNECT_TIMEOUT, KEEP_ALIVE};
use crate::with_causes;

/// The port of the sidecar's gRPC API where nothing says otherwise.
const DEFAULT_PORT: u16 = 50001;
/// The same with TLS, where a sidecar stands behind what else speaks it.
const DEFAULT_TLS_PORT: u16 = 443;

const GRPC_FORMS: &str = "host:port, http(s)://host:port or unix:///path";
const HTTP_FORMS: &str = "host:port or http(s)://host:port";

/// The address of a sidecar's gRPC API, in any of the forms that Dapr's own SDKs take: `127.0.0.1:50001`,
/// `http://host:port`, `https://host:port`, `host:port?tls=true`, `unix:///path`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SidecarEndpoint {
    uri: String,
    tls: bool,
}

/// Why a text is no address of a sidecar.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is no address of a sidecar ({reason}); give {forms}")]
pub struct EndpointError {
    text: String,
    reason: String,
    forms: &'static str,
}

impl EndpointError {
    /// One for the HTTP API.
    pub(super) fn http(text: &str, reason: &str) -> Self {
        Self { text: text.to_owned(), reason: reason.to_owned(), forms: HTTP_FORMS }
    }
}

impl SidecarEndpoint {
    /// The sidecar on this machine with this gRPC port.
    #[must_use]
    pub fn local(port: u16) -> Self {
        Self { uri: format!("http://127.0.0.1:{port}"), tls: false }
    }

    /// Whether it is reached by TLS.
    #[must_use]
    pub fn has_tls(&self) -> bool {
        self.tls
    }

    /// Trusts these authorities with TLS, or those that this machine trusts.
    pub(super) fn connector(&self, ca: Option<&Authorities>) -> Result<Endpoint, EndpointError> {
        let endpoint = Endpoint::from_shared(self.uri.clone()).map_err(|error| self.error(&error))?;
        let endpoint = endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            // A sidecar that is gone without a word is noticed by its silence.
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .keep_alive_while_idle(true);
        if !self.tls {
            return Ok(endpoint);
        }
        let of_this_machine = || ClientTlsConfig::new().with_enabled_roots();
        let tls = ca.map_or_else(of_this_machine, Authorities::trusted_by_grpc);
        endpoint.tls_config(tls).map_err(|error| self.error(&error))
    }

    fn error(&self, error: &dyn std::error::Error) -> EndpointError {
        EndpointError { text: self.uri.clone(), reason: with_causes(error), forms: GRPC_FORMS }
    }
}

impl Default for SidecarEndpoint {
    fn default() -> Self {
        Self::local(DEFAULT_PORT)
    }
}

impl fmt::Display for SidecarEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.uri)
    }
}

impl FromStr for SidecarEndpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let fail = |reason: &str| EndpointError {
            text: text.to_owned(),
            reason: reason.to_owned(),
            forms: GRPC_FORMS,
        };
        let (address, query) = text.split_once('?').unwrap_or((text, ""));
        if address.is_empty() {
            return Err(fail("it is empty"));
        }
        let asks_for_tls = match query {
            "" | "tls=false" => false,
            "tls=true" => true,
            _ => return Err(fail("the only parameter is tls=true or tls=false")),
        };
        let (scheme, rest) = address.split_once("://").unwrap_or(("http", address));
        let tls = asks_for_tls || scheme == "https";
        let uri = match scheme {
            "http" | "https" | "dns" => with_port(rest.trim_start_matches('/').trim_end_matches('/'), tls),
            "unix" => return Ok(Self { uri: format!("unix://{rest}"), tls: false }),
            _ => return Err(fail("the scheme is none of http, https, dns, unix")),
        };
        let endpoint = Self { uri: format!("{}://{uri}", if tls { "https" } else { "http" }), tls };
        endpoint.connector(None).map(|_| endpoint)
    }
}

/// With the default port where it has none. An address in brackets has colons of its own.
fn with_port(authority: &str, tls: bool) -> String {
    let after_host = authority.rsplit_once(']').map_or(authority, |(_, rest)| rest);
    if after_host.contains(':') {
        return authority.to_owned();
    }
    format!("{authority}:{}", if tls { DEFAULT_TLS_PORT } else { DEFAULT_PORT })
}

#[cfg(test)]
mod tests {
    use super::SidecarEndpoint;

    #[test]
    fn every_form_of_daprs_own_sdks_is_taken() {
        for (text, uri, tls) in [
            ("127.0.0.1:5", "http://127.0.0.1:5", false),
            ("http://sidecar:7/", "http://sidecar:7", false),
            ("https://sidecar:443", "https://sidecar:443", true),
            ("sidecar:443?tls=true", "https://sidecar:443", true),
            ("dns:///sidecar:7", "http://sidecar:7", false),
            ("sidecar", "http://sidecar:50001", false),
            ("[::1]", "http://[::1]:50001", false),
            ("https://sidecar.example", "https://sidecar.example:443", true),
            ("unix:///run/dapr.sock", "unix:///run/dapr.sock", false),
        ] {
            let endpoint: SidecarEndpoint = text.parse().unwrap();
            assert_eq!((endpoint.uri.as_str(), endpoint.tls), (uri, tls), "{text}");
        }
    }

    #[test]
    fn what_is_none_is_refused_with_what_would_be_one() {
        for text in ["", "ftp://x:1", "host:1?tls=maybe", "a b:1", "?tls=true"] {
            let error = text.parse::<SidecarEndpoint>().unwrap_err().to_string();
            assert!(error.contains("host:port"), "{text}: {error}");
        }
    }
}

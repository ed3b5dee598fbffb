//! Where the sidecar's HTTP API is.

use std::fmt;
use std::str::FromStr;

use hyper::Uri;

use super::EndpointError;

/// The address of a sidecar's HTTP API, as Dapr's own SDKs take it: `http://host:port`, `https://host`, `host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpEndpoint {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: bool,
}

impl HttpEndpoint {
    /// The sidecar on this machine with this HTTP port.
    #[must_use]
    pub fn local(port: u16) -> Self {
        Self { host: "127.0.0.1".to_owned(), port, tls: false }
    }

    /// Whether it is reached by `https`.
    #[must_use]
    pub fn has_tls(&self) -> bool {
        self.tls
    }

    /// As the `Host` of a request.
    pub(super) fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// What to connect to: an IPv6 address stands without brackets there.
    pub(super) fn name(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }
}

impl fmt::Display for HttpEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.tls { "https" } else { "http" }, self.authority())
    }
}

impl FromStr for HttpEndpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let fail = |reason: &str| EndpointError::http(text, reason);
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let tls = match scheme {
            "http" => false,
            "https" => true,
            _ => return Err(fail("the scheme is neither http nor https")),
        };
        let uri: Uri = rest.trim_end_matches('/').parse().map_err(|_| fail("it has no host"))?;
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'));
        let authority = authority.ok_or_else(|| fail("it is more than a host and a port"))?;
        let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
        Ok(Self { host: authority.host().to_owned(), port, tls })
    }
}

#[cfg(test)]
mod tests {
    use super::HttpEndpoint;

    #[test]
    fn every_form_of_daprs_own_sdks_is_taken() {
        for (text, address) in [
            ("http://127.0.0.1:3500", "http://127.0.0.1:3500"),
            ("https://sidecar.example/", "https://sidecar.example:443"),
            ("http://sidecar", "http://sidecar:80"),
            ("sidecar:3500", "http://sidecar:3500"),
            ("https://[::1]:7", "https://[::1]:7"),
        ] {
            let endpoint: HttpEndpoint = text.parse().unwrap();
            assert_eq!(endpoint.to_string(), address, "{text}");
        }
        assert_eq!("https://[::1]:7".parse::<HttpEndpoint>().unwrap().name(), "::1");
    }

    #[test]
    fn what_is_none_is_refused_with_what_would_be_one() {
        for text in ["", "ftp://x:1", "http://", "http://a b:1", "http://x:1/path", "unix:///x", "http://u@x"]
        {
            let error = text.parse::<HttpEndpoint>().unwrap_err().to_string();
            assert!(error.contains("http(s)://host:port"), "{text}: {error}");
        }
    }
}

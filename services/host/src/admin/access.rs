//! Who may use the operators' API.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::uri::Authority;
use http::{HeaderMap, StatusCode, header};
use subtle::ConstantTimeEq;

use crate::Problem;

/// Who may: peers on this machine, under a name of this machine, while the service listens on this machine only, and
/// whoever has the token.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    pub(crate) loopback_listener: bool,
    pub(crate) token: Option<Arc<str>>,
}

/// Lets a request through, or not.
pub(crate) async fn check(State(access): State<Access>, request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0);
    match access.allows(peer, request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

impl Access {
    fn allows(&self, peer: Option<SocketAddr>, headers: &HeaderMap) -> Result<(), Problem> {
        let local_peer = peer.is_some_and(|peer| peer.ip().to_canonical().is_loopback());
        let without_token = self.loopback_listener && local_peer && !is_on_behalf(headers);
        let names_this_machine = is_for_this_machine(headers);
        if without_token && names_this_machine {
            return Ok(());
        }
        match (&self.token, bearer(headers)) {
            (Some(token), Some(given)) if token.as_bytes().ct_eq(given.as_bytes()).into() => Ok(()),
            (Some(_), _) => Err(Problem::new(
                StatusCode::UNAUTHORIZED,
                "admin_unauthorized",
                "send the admin token as `Authorization: Bearer ...`",
            )),
            (None, _) if without_token && !names_this_machine => Err(Problem::new(
                StatusCode::FORBIDDEN,
                "admin_host_not_local",
                "without a token, the admin API answers only to the names of this machine: call it as 127.0.0.1, \
                 [::1] or localhost, or set ANNALS_ADMIN_TOKEN",
            )),
            (None, _) => Err(Problem::new(
                StatusCode::FORBIDDEN,
                "admin_forbidden",
                "the admin API is open to this machine only; set ANNALS_ADMIN_TOKEN to use it from elsewhere",
            )),
        }
    }
}

/// Whether somebody else may be behind a peer on this machine: a proxy's client, or a page in a browser.
pub(crate) fn is_on_behalf(headers: &HeaderMap) -> bool {
    [header::FORWARDED.as_str(), "x-forwarded-for", header::ORIGIN.as_str()]
        .iter()
        .any(|name| headers.contains_key(*name))
}

/// Whether `Host` is this machine's. A page in a browser whose own name was made to lead here sends that name.
fn is_for_this_machine(headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter().peekable();
    hosts.peek().is_some() && hosts.all(|host| host.to_str().is_ok_and(is_local_name))
}

fn is_local_name(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host();
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|ip| ip.to_canonical().is_loopback())
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::Access;
    use crate::Problem;

    fn outcome(listener: bool, token: Option<&str>, peer: &str, sent: &[(&'static str, &str)]) -> u16 {
        let sent = [&[("host", "127.0.0.1:8080")], sent].concat();
        asked(listener, token, peer, &sent).map_or_else(|p| p.status().as_u16(), |()| 200)
    }

    fn asked(
        listener: bool,
        token: Option<&str>,
        peer: &str,
        sent: &[(&'static str, &str)],
    ) -> Result<(), Problem> {
        let access = Access { loopback_listener: listener, token: token.map(Arc::from) };
        let mut headers = HeaderMap::new();
        for (name, value) in sent {
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        let peer = Some(format!("{peer}:1").parse().unwrap());
        access.allows(peer, &headers)
    }

    #[test]
    fn this_machine_may_on_a_listener_of_this_machine() {
        assert_eq!(outcome(true, None, "127.0.0.1", &[]), 200);
        assert_eq!(outcome(true, None, "[::1]", &[]), 200);
        assert_eq!(outcome(true, None, "[::ffff:127.0.0.1]", &[]), 200);
        assert_eq!(outcome(true, None, "10.0.0.1", &[]), 403);
        assert_eq!(outcome(false, None, "127.0.0.1", &[]), 403);
    }

    #[test]
    fn who_acts_for_another_needs_the_token() {
        for name in ["x-forwarded-for", "forwarded", "origin"] {
            assert_eq!(outcome(true, None, "127.0.0.1", &[(name, "x")]), 403, "{name}");
        }
    }

    #[test]
    fn a_name_that_was_made_to_lead_here_does_not_open() {
        let asked = |hosts: &[&str]| {
            let sent: Vec<_> = hosts.iter().map(|host| ("host", *host)).collect();
            asked(true, None, "127.0.0.1", &sent)
                .map_err(|problem| (problem.status().as_u16(), problem.code()))
        };
        for host in
            ["127.0.0.1:8080", "127.0.0.1", "127.8.9.1:1", "[::1]:8080", "localhost:8080", "LocalHost"]
        {
            assert_eq!(asked(&[host]), Ok(()), "{host}");
        }
        let refused = Err((403, "admin_host_not_local"));
        for hosts in [
            &["evil.example"][..],
            &["localhost.evil.example"],
            &["127.0.0.1.evil.example:8080"],
            &["0.0.0.0:8080"],
            &["10.0.0.1"],
            &["a b"],
            &[],
            &["127.0.0.1", "evil.example"],
        ] {
            assert_eq!(asked(hosts), refused, "{hosts:?}");
        }
        let with_token = [("host", "evil.example"), ("authorization", "Bearer secret")];
        assert!(self::asked(true, Some("secret"), "127.0.0.1", &with_token).is_ok());
    }

    #[test]
    fn the_token_opens_from_everywhere() {
        let sent = |token| [("authorization", token)];
        assert_eq!(outcome(false, Some("secret"), "10.0.0.1", &sent("Bearer secret")), 200);
        assert_eq!(outcome(false, Some("secret"), "10.0.0.1", &sent("bearer  secret")), 200);
        for wrong in ["Bearer secreT", "Bearer secret2", "Bearer ", "Basic secret", "secret"] {
            assert_eq!(outcome(false, Some("secret"), "10.0.0.1", &sent(wrong)), 401, "{wrong}");
        }
        assert_eq!(outcome(false, None, "10.0.0.1", &sent("Bearer secret")), 403);
    }
}

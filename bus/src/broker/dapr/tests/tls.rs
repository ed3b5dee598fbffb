//! A sidecar elsewhere, behind TLS. `tls/make.sh` has made the certificates.

use super::fake::Served;
use super::{all_published, count_up, node, options, publisher, until};
use crate::Bus;
use crate::broker::dapr::{Authorities, AuthoritiesError, DaprBroker, DaprOptions};

/// The authority that has issued the sidecar's certificate.
pub(super) const AUTHORITY: &[u8] = include_bytes!("tls/authority.pem");
const OTHER_AUTHORITY: &[u8] = include_bytes!("tls/other.pem");

fn over_tls(sidecar: &Served, host: &str, ca: Option<&[u8]>) -> DaprOptions {
    DaprOptions {
        endpoint: format!("https://{host}:{}", sidecar.port()).parse().unwrap(),
        ca: ca.map(|pem| Authorities::from_pem(pem).unwrap()),
        ..options(sidecar)
    }
}

#[tokio::test]
async fn events_go_to_a_sidecar_that_its_authority_vouches_for() {
    let sidecar = Served::start_behind_tls().await;
    let both = [OTHER_AUTHORITY, AUTHORITY].concat();
    for ca in [AUTHORITY, &both] {
        let node = node().await;
        sidecar.script().published.clear();
        let bus = publisher(&node, over_tls(&sidecar, "localhost", Some(ca))).await;
        count_up(&node, 3, 2).await;
        all_published(&sidecar, 3, 2).await;
        until("it is ready", async || bus.health().is_ready()).await;
        bus.shutdown().await;
    }
}

#[tokio::test]
async fn a_sidecar_that_nobody_vouches_for_gets_nothing_and_health_says_why() {
    let sidecar = Served::start_behind_tls().await;
    for (host, ca, why) in [
        ("localhost", Some(OTHER_AUTHORITY), "UnknownIssuer"),
        // Nor is it one that this machine trusts.
        ("localhost", None, "UnknownIssuer"),
        ("127.0.0.1", Some(AUTHORITY), "not valid for name"),
    ] {
        let node = node().await;
        let bus = publisher(&node, over_tls(&sidecar, host, ca)).await;
        count_up(&node, 1, 1).await;
        let says = async || bus.health().reasons.iter().any(|reason| reason.contains(why));
        until(&format!("health says {why}"), says).await;
        assert!(sidecar.script().published.is_empty());
        bus.shutdown().await;
    }
}

#[tokio::test]
async fn an_authority_is_for_tls_alone() {
    let sidecar = Served::start("1.17.0").await;
    let ca = Some(Authorities::from_pem(AUTHORITY).unwrap());
    let broker = DaprBroker::new(DaprOptions { ca, ..options(&sidecar) });
    let builder = Bus::builder(node().await, "counting").broker(std::sync::Arc::new(broker));
    let error = builder.start().await.unwrap_err();
    assert!(error.code() == "broker_refused" && error.to_string().contains("https://"), "{error}");
}

#[test]
fn what_is_no_certificate_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let missing = Authorities::from_file(&dir.path().join("ca.pem")).unwrap_err();
    assert!(missing.to_string().contains("ca.pem cannot be read"), "{missing}");
    let key = include_bytes!("tls/sidecar.key");
    let cut = &AUTHORITY[..AUTHORITY.len() / 2];
    let forged = b"-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n";
    for text in [&b""[..], b"hello", &[0, 255], key, cut, forged] {
        let error = Authorities::from_pem(text).unwrap_err();
        assert!(matches!(error, AuthoritiesError::NotPem { .. }), "{error:?}");
        assert_eq!(error.code(), "sidecar_ca_invalid");
    }
}

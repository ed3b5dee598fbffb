//! Flags and their twins in the environment.
#![allow(missing_docs, reason = "tests")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod program;

use program::{command, exit_code, stderr, stdout};

/// Names and values in the environment.
type Variables<'a> = &'a [(&'a str, &'a str)];

/// Exit code, stdout and stderr of a command with these variables.
fn with(variables: Variables<'_>, arguments: &[&str]) -> (i32, String, String) {
    let output = command().args(arguments).envs(variables.iter().copied()).output().unwrap();
    (exit_code(&output), stdout(&output), stderr(&output))
}

#[test]
fn a_switch_may_be_set_in_the_environment() {
    let json = with(&[], &["describe", "--json"]).1;
    assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok());
    for (value, expected) in [("1", &json), ("true", &json), ("on", &json)] {
        assert_eq!(&with(&[("ANNALS_JSON", value)], &["describe"]).1, expected, "{value}");
    }
    assert_ne!(with(&[("ANNALS_JSON", "0")], &["describe"]).1, json);
    let (code, _, said) = with(&[("ANNALS_JSON", "maybe")], &["describe"]);
    assert!(code == 2 && said.contains("--json") && said.contains("maybe"), "{said}");
}

#[test]
fn what_is_required_may_stand_in_the_environment() {
    let (code, _, said) = with(&[("ANNALS_DATA", "nowhere")], &["serve"]);
    assert!(code == 2 && said.contains("not provided:\n  --service <NAME> (wrong_usage;"), "{said}");
    let (code, _, said) = with(&[("ANNALS_SERVICE", "nobody"), ("ANNALS_DATA", "nowhere")], &["serve"]);
    assert!(code != 0 && said.contains("nobody"), "{said}");
}

#[test]
fn what_is_set_for_sidecars_keeps_nothing_from_running_without() {
    // What comes after the flags are read: an address that is taken.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, _, said) = with(&[("ANNALS_DAPR_RESOURCES", "/nowhere")], &["dev", "--listen", &address]);
    assert!(code == 1 && said.contains("listen_failed"), "{said}");
    let (code, _, said) = with(&[], &["dev", "--listen", &address, "--dapr-resources", "/nowhere"]);
    assert!(code == 2 && said.contains("give --dapr too"), "{said}");
}

#[cfg(not(feature = "dapr"))]
#[test]
fn without_the_feature_a_sidecar_is_refused() {
    let data = tempfile::tempdir().unwrap();
    let dir = data.path().to_str().unwrap();
    let (code, _, said) = with(&[], &["serve", "--service", "notes", "--data", dir, "--broker", "dapr"]);
    assert!(code == 2 && said.contains("--features dapr"), "{said}");
}

#[cfg(feature = "dapr")]
mod sidecars {
    use super::program::Program;
    use super::{Variables, with};

    fn refused(variables: Variables<'_>, more: &[&str]) -> (i32, String) {
        let data = tempfile::tempdir().unwrap();
        let dir = data.path().to_str().unwrap();
        let serve = ["serve", "--service", "notes", "--data", dir, "--broker", "dapr"];
        let (code, _, said) = with(variables, &[&serve, more].concat());
        (code, said)
    }

    #[test]
    fn a_wrong_address_is_refused_with_what_would_be_one() {
        let cases: [(Variables<'_>, &[&str], &str); 6] = [
            (&[], &["--dapr-endpoint", "ftp://x"], "host:port, http(s)://host:port or unix:///path"),
            (&[("DAPR_GRPC_ENDPOINT", "ftp://x")], &[], "--dapr-endpoint (or DAPR_GRPC_ENDPOINT)"),
            (&[("DAPR_GRPC_PORT", "many")], &[], "DAPR_GRPC_PORT is \"many\""),
            (&[], &["--dapr-http-endpoint", "x/y"], "host:port or http(s)://host:port"),
            (&[("DAPR_HTTP_ENDPOINT", "x/y")], &[], "--dapr-http-endpoint (or DAPR_HTTP_ENDPOINT)"),
            (&[("DAPR_HTTP_PORT", "0")], &[], "a number from 1 to 65535"),
        ];
        for (variables, more, words) in cases {
            let (code, said) = refused(variables, more);
            assert!(code == 2 && said.contains(words), "{variables:?} {more:?}: {said}");
        }
    }

    #[test]
    fn a_component_for_a_topic_that_nobody_has_is_refused_with_those_that_there_are() {
        let free = ["--app-listen", "127.0.0.1:0", "--listen", "127.0.0.1:0"];
        let data = tempfile::tempdir().unwrap();
        let dir = data.path().to_str().unwrap();
        let serve = ["serve", "--service", "counts", "--data", dir, "--broker", "dapr"];
        let misspelt = ["--topic-pubsub", "v1.misspelt=own"];
        let (code, _, said) = with(&[], &[&serve[..], &misspelt, &free].concat());
        assert!(
            code == 1 && said.contains("component_of_no_topic") && said.contains("NoteWritten"),
            "{said}"
        );
        let (code, _, said) = with(&[], &["dev", "--dapr", "--topic-pubsub", "v1.misspelt=own"]);
        assert!(code == 2 && said.contains("no service publishes") && said.contains("NoteWritten"), "{said}");
        let (code, _, said) =
            with(&[], &["serve", "--service", "notes", "--data", "d", "--topic-pubsub", "a=b"]);
        assert!(code == 2 && said.contains("give --broker dapr too"), "{said}");
    }

    #[test]
    fn an_authority_is_a_file_in_pem_and_for_tls() {
        let dir = tempfile::tempdir().unwrap();
        let (missing, wrong) = (dir.path().join("missing.pem"), dir.path().join("wrong.pem"));
        std::fs::write(&wrong, "no certificate").unwrap();
        let over_tls = ["--dapr-endpoint", "https://sidecar.example"];
        for (file, words) in [(&missing, "cannot be read"), (&wrong, "-----BEGIN CERTIFICATE-----")] {
            let file = file.to_str().unwrap();
            for (variables, more) in [
                (vec![], [&over_tls[..], &["--dapr-ca", file]].concat()),
                (vec![("ANNALS_DAPR_CA", file)], over_tls.to_vec()),
            ] {
                let (code, said) = refused(&variables, &more);
                let whole =
                    said.contains(words) && said.contains(file) && said.contains("sidecar_ca_invalid");
                assert!(code == 1 && whole, "{said}");
            }
            let (code, said) = refused(&[], &["--dapr-ca", file]);
            assert!(code == 2 && said.contains("there is no TLS"), "{said}");
        }
    }

    #[test]
    fn a_flag_goes_before_its_twin_and_an_address_before_a_port() {
        let ports = [("DAPR_GRPC_PORT", "1"), ("DAPR_HTTP_PORT", "2")];
        let addresses = [("DAPR_GRPC_ENDPOINT", "http://a:3"), ("DAPR_HTTP_ENDPOINT", "http://b:4")];
        let empty = [("DAPR_GRPC_ENDPOINT", ""), ("DAPR_HTTP_ENDPOINT", "")];
        let flags = ["--dapr-endpoint", "c:5", "--dapr-http-endpoint", "https://d"];
        let (both, with_empty) = ([ports, addresses].concat(), [ports, empty].concat());
        let cases: [(Variables<'_>, &[&str], &str); 5] = [
            (&[], &[], "grpc_api=http://127.0.0.1:50001 http_api=\"not asked\""),
            (&ports, &[], "grpc_api=http://127.0.0.1:1 http_api=\"http://127.0.0.1:2\""),
            (&with_empty, &[], "grpc_api=http://127.0.0.1:1 http_api=\"http://127.0.0.1:2\""),
            (&both, &[], "grpc_api=http://a:3 http_api=\"http://b:4\""),
            (&both, &flags, "grpc_api=http://c:5 http_api=\"https://d:443\""),
        ];
        for (variables, more, line) in cases {
            let data = tempfile::tempdir().unwrap();
            let serve =
                ["serve", "--service", "notes", "--data", data.path().to_str().unwrap(), "--broker", "dapr"];
            let free = ["--app-listen", "127.0.0.1:0"];
            let notes =
                Program::start_listening("127.0.0.1:0", &[&serve, &free[..], more].concat(), variables);
            assert!(notes.log().contains(line), "{line}: {}", notes.log());
            assert!(notes.stop().success());
        }
    }
}

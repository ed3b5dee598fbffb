use super::*;

fn version(text: &str) -> SidecarVersion {
    text.parse().unwrap()
}

#[test]
fn releases_are_read_and_others_are_none() {
    assert_eq!(version("1.14.4"), OLDEST);
    assert_eq!(version("v1.18.3-rc.1").to_string(), "1.18.3");
    for text in ["edge", "", "1.14", "1.14.4.1", "1.x.3", "-1.2.3"] {
        assert_eq!(text.parse::<SidecarVersion>(), Err(NoRelease), "{text}");
    }
}

#[test]
fn broken_and_old_releases_are_refused() {
    for text in ["1.14.3", "1.9.0", "1.18.0", "1.18.1", "1.18.2"] {
        assert!(version(text).fault().is_some(), "{text}");
    }
    for text in ["1.14.4", "1.17.10", "1.18.3", "2.0.0"] {
        assert_eq!(version(text).fault(), None, "{text}");
    }
}

#[test]
fn what_an_old_release_costs_is_said() {
    assert_eq!(version("1.16.9").costs().len(), 3);
    assert!(!version("1.16.9").sends_app_token_over_grpc());
    assert!(version("1.17.0").costs().is_empty());
    assert!(version("1.17.0").has_safe_dead_letters());
}

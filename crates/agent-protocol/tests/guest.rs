//! The guest configuration is strict.

use agent_protocol::{GUEST_CONFIG_MAX, GuestConfig, GuestConfigError, Ready};

const FULL: &str = r#"{"version":1,"modules":["/mod/a.ko"],"layers":2,"writable":true,"hostname":"bake",
    "network":{"address":"10.0.2.15","prefix":24,"gateway":"10.0.2.2","dns":"10.0.2.3"},
    "warm":{"argv":["python3"],"ready":"runner","eval":true},"on_fork":{"argv":["/bin/true"],"deadline_ms":10000}}"#;

#[test]
fn a_full_config_is_read_back_as_written() {
    let config = GuestConfig::parse(FULL.as_bytes()).unwrap();
    assert_eq!(config.warm.as_ref().unwrap().ready, Ready::Runner);
    let again = GuestConfig::parse(&serde_json::to_vec(&config).unwrap()).unwrap();
    assert_eq!(again, config);
}

#[test]
fn every_bound_is_named() {
    let cases = [
        ("/mod/a.ko", "mod/a.ko", "modules"),
        ("\"layers\":2", "\"layers\":0", "layers"),
        ("\"layers\":2", "\"layers\":13", "layers"),
        ("\"prefix\":24", "\"prefix\":33", "network.prefix"),
        ("[\"python3\"]", "[]", "warm.argv"),
        ("[\"/bin/true\"]", "[\"\"]", "on_fork.argv"),
        ("\"deadline_ms\":10000", "\"deadline_ms\":0", "on_fork.deadline_ms"),
        ("\"eval\":true", "\"eval\":false", "warm.eval"),
        ("\"runner\"", r#"{"file":{"path":"x"}}"#, "warm.ready.file.path"),
        ("\"runner\"", r#"{"command":{"argv":["x"],"interval_ms":0}}"#, "warm.ready.command.interval_ms"),
    ];
    for (from, to, field) in cases {
        let error = GuestConfig::parse(FULL.replace(from, to).as_bytes()).unwrap_err();
        assert!(error.to_string().contains(&format!("`{field}`")), "{error}");
    }
}

#[test]
fn unknown_fields_versions_and_sizes_are_refused() {
    let unknown = FULL.replace("\"layers\"", "\"surprise\":1,\"layers\"");
    assert!(matches!(GuestConfig::parse(unknown.as_bytes()), Err(GuestConfigError::Json(_))));
    assert!(matches!(GuestConfig::parse(br#"{"version":2,"new":1}"#), Err(GuestConfigError::Version(2))));
    let huge = vec![b' '; GUEST_CONFIG_MAX + 1];
    assert!(matches!(GuestConfig::parse(&huge), Err(GuestConfigError::TooLong(_))));
}

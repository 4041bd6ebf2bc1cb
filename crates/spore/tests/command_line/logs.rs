//! Standard error as JSON, without progress, without colours: what is said to whom.

use serde_json::Value;

use crate::harness::run::{Outcome, Run};
use crate::harness::{Spore, files, terminal};
use crate::user;

/// The lines of standard error, each of which is to be a JSON object of the one form.
#[track_caller]
fn lines(outcome: &Outcome) -> Vec<Value> {
    let parse = |line: &str| {
        let value: Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:?} of {outcome}"));
        for field in ["timestamp", "level", "target"] {
            assert!(value[field].is_string(), "{line}");
        }
        assert!(value["fields"].is_object(), "{line}");
        value
    };
    outcome.error().lines().map(parse).collect()
}

#[track_caller]
fn last(outcome: &Outcome) -> (String, String) {
    let line = lines(outcome).pop().unwrap_or_else(|| panic!("nothing is said: {outcome}"));
    assert_eq!(line["level"], "ERROR", "{line}");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (text(&line["fields"]["kind"]), text(&line["fields"]["message"]))
}

#[test]
fn errors_are_json_lines() {
    let spore = Spore::new();
    let json = |words: &[&str]| spore.command(["--log-format", "json"]).args(words).finish();
    let (kind, message) = last(&json(&["inspect", "nobody"]).exits_with(3));
    assert_eq!(kind, "notfound");
    assert!(message.contains("nobody"), "{message}");
    // What is wrong with the arguments is known before they are.
    for words in [&["nonsense"][..], &["fork"], &["ps", "--nonsense"], &["push"]] {
        assert_eq!(last(&json(words).exits_with(2)).0, "usage");
    }
    assert_eq!(last(&json(&["exec", "nobody", "--", "true"]).exits_with(125)).0, "notfound");
    let by_variable = spore.command(["inspect", "nobody"]).env("SPORE_LOG_FORMAT", "json").finish();
    assert_eq!(last(&by_variable).0, "notfound");
    let wrong = spore.command(["ps"]).env("SPORE_LOG_FORMAT", "xml").finish().exits_with(2);
    wrong.says(&["SPORE_LOG_FORMAT", "xml", "text or json"]);
    // Help is a result, and stays text.
    assert!(json(&["--help"]).succeeds().text().contains("Usage:"));
}

#[test]
fn events_are_json_lines() {
    let spore = user();
    let run = spore.command(["images", "--log-format", "json"]).env("SPORE_LOG", "info");
    let outcome = run.finish().succeeds();
    let lines = lines(&outcome);
    assert!(lines.iter().any(|line| line["fields"]["message"] == "ended"), "{outcome}");
    assert!(lines.iter().all(|line| line["level"] == "INFO"), "{outcome}");
    // Nothing is logged that nobody asked for.
    assert_eq!(spore.run(["images", "--log-format", "json"]).succeeds().error(), "");
    let wrong = spore.command(["images"]).env("SPORE_LOG", "hub=loud").finish().exits_with(2);
    wrong.says(&["SPORE_LOG", "hub=loud"]);
}

/// A pull at a terminal, which has progress to show.
fn pull(spore: &Spore, words: &[&str]) -> Run {
    let hub = spore.root().with_file_name("hub");
    spore.run(["push".as_ref(), "sample".as_ref(), "--hub".as_ref(), hub.as_os_str()]).succeeds();
    spore.run(["rm", "sample", "team/sample:1.2.3-rc1"]).succeeds();
    spore.run(["prune", "--all"]).succeeds();
    spore.command(["pull".as_ref(), "sample".as_ref(), "--hub".as_ref(), hub.as_os_str()]).args(words)
}

#[test]
fn a_terminal_has_progress_unless_it_is_not_wanted() {
    let is_drawn = |shown: &str| shown.contains('\u{1b}') || shown.contains('\r');
    let shown = terminal::shown(pull(&user(), &[]), 80, "");
    assert!(is_drawn(&shown), "{shown:?}");
    for words in [&["--quiet"][..], &["--log-format", "json"]] {
        let shown = terminal::shown(pull(&user(), words), 80, "");
        assert!(!is_drawn(&shown) && shown.contains("/sample"), "{words:?}: {shown:?}");
    }
    let quiet = terminal::shown(pull(&user(), &[]).env("SPORE_QUIET", "1"), 80, "");
    assert!(!is_drawn(&quiet), "{quiet:?}");
}

#[test]
fn colours_are_for_terminals_that_want_them() {
    let spore = Spore::new();
    let run = || spore.command(["version"]).env("SPORE_LOG", "info");
    let is_coloured = |text: &str| text.contains("\u{1b}[");
    assert!(is_coloured(&terminal::shown(run(), 80, "")));
    assert!(!is_coloured(&terminal::shown(run().env("NO_COLOR", "1"), 80, "")));
    assert!(!is_coloured(&run().finish().succeeds().error()));
    assert!(is_coloured(&run().env("CLICOLOR_FORCE", "1").finish().succeeds().error()));
    let both = run().env("CLICOLOR_FORCE", "1").env("NO_COLOR", "1");
    assert!(!is_coloured(&both.finish().succeeds().error()));
    // Help, too.
    let help = || spore.command(["--help"]);
    assert!(is_coloured(&terminal::shown(help(), 80, "")));
    assert!(!is_coloured(&terminal::shown(help().env("NO_COLOR", "1"), 80, "")));
    assert!(!is_coloured(help().finish().succeeds().text()));
}

#[test]
fn a_token_gets_into_no_log() {
    let spore = Spore::new();
    let words = ["hub", "token", "new", "--name", "ann", "--log-format", "json"];
    let refused = spore.run(words).exits_with(2);
    assert!(last(&refused).1.contains("--format json"));
    let made = spore.command(words).args(["--format", "json"]).finish().succeeds();
    let token = made.json()["token"].as_str().unwrap().to_owned();
    assert!(!token.is_empty() && !made.error().contains(&token));
}

#[test]
fn a_broken_configuration_is_said_in_the_form_that_is_asked_for() {
    let folder = files::scratch("config");
    let file = folder.path().join("config.toml");
    std::fs::write(&file, "nonsense = 1\n").unwrap();
    let spore = Spore::new();
    let run = || spore.command(["ps", "--log-format", "json"]).env("SPORE_CONFIG", &file);
    let (kind, message) = last(&run().finish().exits_with(2));
    assert!(kind == "usage" && message.contains("nonsense"), "{message}");
    std::fs::write(&file, "").unwrap();
    run().finish().succeeds();
}

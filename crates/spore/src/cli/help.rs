//! What stands below a verb's help, made to fit [`COLUMNS`]: in the sources it has lines of their width.
//!
//! Prose is put together, and clap breaks it where the terminal ends. What is indented (examples, lists) stands as it is; but
//! if a line of such a block is too wide, the block's comments, which two spaces or more set apart, go below what they are on.

use std::borrow::Cow;

/// The most that help is wide.
pub(super) const COLUMNS: usize = 80;

/// Fits the help of a verb, and of the verbs below it.
pub(super) fn fitted(command: clap::Command) -> clap::Command {
    let after = command.get_after_help().map(|text| fit(&text.to_string()));
    let command = match after {
        Some(text) => command.after_help(text),
        None => command,
    };
    command.mut_subcommands(fitted)
}

fn fit(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let blocks = lines.chunk_by(|one, next| kind(one) == kind(next));
    let fitted = blocks.map(|block| match block.first().map(|line| kind(line)) {
        Some(Kind::Prose) => Cow::Owned(block.join(" ")),
        Some(Kind::Indented) if block.iter().any(|line| is_wide(line)) => Cow::Owned(stacked(block)),
        _ => Cow::Owned(block.join("\n")),
    });
    fitted.collect::<Vec<_>>().join("\n")
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Prose,
    Indented,
    Empty,
}

fn kind(line: &str) -> Kind {
    match line.chars().next() {
        None => Kind::Empty,
        Some(' ') => Kind::Indented,
        Some(_) => Kind::Prose,
    }
}

fn is_wide(line: &str) -> bool {
    textwrap::core::display_width(line) > COLUMNS
}

/// Comments below what they are on.
fn stacked(block: &[&str]) -> String {
    let stack = |line: &&str| match line.trim_start().split_once("  ") {
        Some((example, comment)) => format!("  {example}\n      {}", comment.trim_start()),
        None => (*line).to_owned(),
    };
    block.iter().map(stack).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prose_flows_and_examples_stand() {
        let text = "Examples:\n  spore a   one\n  spore b\n\nOne line,\nand another.\n\nThe next:\n  x";
        let fitted = "Examples:\n  spore a   one\n  spore b\n\nOne line, and another.\n\nThe next:\n  x";
        assert_eq!(fit(text), fitted);
    }

    #[test]
    fn comments_that_do_not_fit_go_below() {
        let wide = "x".repeat(COLUMNS);
        assert_eq!(
            fit(&format!("Examples:\n  spore a   {wide}\n  spore b   c")),
            format!("Examples:\n  spore a\n      {wide}\n  spore b\n      c")
        );
    }

    #[test]
    fn no_example_of_any_verb_is_broken_by_clap() {
        let command = super::super::command();
        let below = command.get_subcommands().flat_map(clap::Command::get_subcommands);
        for verb in command.get_subcommands().chain(below).chain([&command]) {
            let help = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
            for line in help.lines().filter(|line| kind(line) == Kind::Indented) {
                assert!(!is_wide(line), "{}: {line}", verb.get_name());
            }
        }
    }
}

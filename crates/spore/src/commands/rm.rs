//! `spore rm`

use std::collections::BTreeSet;
use std::process::ExitCode;

use clap::Args;
use format::{FullName, Reference};
use serde_json::json;
use store::Store;

use crate::config::Config;
use crate::error::CliError;
use crate::options::Options;
use crate::{context, output, progress};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spore rm python-numpy:1.2
  spore rm acme/team/numpy local/numpy

Only the tag goes. What no tag and no sandbox needs any more is removed by `spore prune`.")]
pub(crate) struct RmArgs {
    /// Tags: [HUB/]NAME[:TAG]
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

pub(crate) fn run(options: &Options, args: &RmArgs) -> Result<ExitCode, CliError> {
    let config = Config::load()?;
    let store = context::store(options)?;
    let tags = known_tags(&store)?;
    // All are looked up before one is removed: a mistyped name removes nothing.
    let find = |text: &String| the_one_tag(&tags, &config.reference(text)?);
    let names = args.names.iter().map(find).collect::<Result<BTreeSet<_>, _>>()?;
    let mut removed = Vec::new();
    for name in &names {
        let digest = store.remove_ref(name)?;
        removed.push(json!({ "name": name.to_string(), "digest": digest }));
    }
    output::result(options.format, &json!({ "removed": removed }), || {
        names.iter().map(|name| format!("{name}\n")).collect::<String>()
    });
    progress::note(options, "`spore prune` frees what nothing needs any more");
    Ok(ExitCode::SUCCESS)
}

/// All tags, those too that can't be read: removing them is all that can be done about them.
fn known_tags(store: &Store) -> Result<BTreeSet<FullName>, CliError> {
    let (refs, damaged) = store.readable_refs()?;
    Ok(refs.into_keys().chain(damaged.into_iter().map(|(name, _)| name)).collect())
}

/// The one tag that `reference` names. Where two tags lead to one snapshot, it matters which of them goes.
fn the_one_tag(tags: &BTreeSet<FullName>, reference: &Reference) -> Result<FullName, CliError> {
    if reference.digest.is_some() {
        return Err(CliError::Usage(format!(
            "{reference}: rm removes tags, and a digest is none: `spore images` lists the tags that lead to it"
        )));
    }
    let tag = reference.tag_or_default();
    let is_named = |name: &&FullName| {
        name.name == reference.name
            && name.tag == tag
            && reference.hub.as_ref().is_none_or(|hub| *hub == name.hub)
    };
    let named: Vec<_> = tags.iter().filter(is_named).collect();
    match named.as_slice() {
        [name] => Ok((*name).clone()),
        [] => Err(CliError::NotFound(format!(
            "there is no tag {}:{tag}: `spore images` lists all",
            untagged(reference)
        ))),
        _ => {
            let list = named.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ");
            Err(CliError::Usage(format!("{reference} can mean {list}: give the name with its hub")))
        }
    }
}

fn untagged(reference: &Reference) -> Reference {
    Reference { tag: None, ..reference.clone() }
}

#[cfg(test)]
mod tests {
    use format::Digest;

    use super::*;

    #[test]
    fn exactly_one_tag_is_meant() {
        let tags: BTreeSet<FullName> = ["local/a:latest", "local/a:1", "hub.example/a:1", "local/team/a:2"]
            .into_iter()
            .map(|name| name.parse().unwrap())
            .collect();
        let find = |text: &str| the_one_tag(&tags, &text.parse().unwrap()).map(|name| name.to_string());
        assert_eq!(find("a").unwrap(), "local/a:latest");
        assert_eq!(find("hub.example/a:1").unwrap(), "hub.example/a:1");
        let ambiguous = find("a:1").unwrap_err();
        assert!(matches!(&ambiguous, CliError::Usage(text) if text.contains("hub.example/a:1 or local/a:1")));
        for absent in ["a:2", "b", "hub.example/a"] {
            assert!(matches!(find(absent), Err(CliError::NotFound(_))), "{absent}");
        }
        assert!(matches!(find(&format!("a@{}", Digest::of(b"x"))), Err(CliError::Usage(_))));
    }
}

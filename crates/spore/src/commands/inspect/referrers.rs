//! `spore inspect --referrers`: what a hub has about a snapshot, such as signatures.

use std::process::ExitCode;

use hub::{Referrer, Selector};
use serde_json::json;

use crate::config::Config;
use crate::error::CliError;
use crate::options::Options;
use crate::{hubs, interrupt, output};

pub(super) fn run(options: &Options, text: &str, hub: Option<&str>) -> Result<ExitCode, CliError> {
    let config = Config::load()?;
    let reference = config.reference(text)?;
    let hub = hubs::choose_known(&config, hub, &reference)?;
    let registry = hub::open(&hub.location, &hubs::access()?)?;
    let name = &reference.name;
    let (digest, referrers) = interrupt::block_on(async {
        let digest = match reference.digest {
            Some(digest) => digest,
            None => {
                let which = Selector::Tag(reference.tag_or_default());
                let manifest = registry.get_manifest(name, &which).await?;
                let absent =
                    || CliError::NotFound(format!("hub {} has no {name}{which}", registry.location()));
                manifest.ok_or_else(absent)?.digest()
            }
        };
        Ok::<_, CliError>((digest, registry.referrers(name, &digest, None).await?))
    })?;
    let document = json!({
        "hub": registry.location(),
        "name": name,
        "digest": digest,
        "referrers": referrers,
    });
    output::result(options.format, &document, || {
        let rows: Vec<_> = referrers.iter().map(row).collect();
        format!("{name}@{digest}\n{}", output::table(&["TYPE", "SIZE", "DIGEST"], &rows))
    });
    Ok(ExitCode::SUCCESS)
}

fn row(referrer: &Referrer) -> Vec<String> {
    let Referrer { digest, size, artifact_type, .. } = referrer;
    vec![artifact_type.clone().unwrap_or_else(|| "-".to_owned()), output::size(*size), digest.to_string()]
}

//! `spore images --hub`: what a hub offers.

use std::process::ExitCode;

use format::Name;
use hub::{BadOffer, HubError, HubLocation, Offer, Offers, list_offers};
use serde_json::{Value, json};

use crate::config::Config;
use crate::error::CliError;
use crate::options::Options;
use crate::{hubs, interrupt, output};

pub(super) fn run(options: &Options, hub: Option<&str>, names: &[String]) -> Result<ExitCode, CliError> {
    let hub = hubs::named(&Config::load()?, hub)?;
    let names = names.iter().map(|name| name.parse::<Name>()).collect::<Result<Vec<_>, _>>()?;
    let registry = hub::open(&hub.location, &hubs::access()?)?;
    let names = (!names.is_empty()).then_some(names);
    let offers =
        interrupt::block_on(list_offers(&registry, names)).map_err(|error| explain(error, &hub.location))?;
    let Offers { offers, bad, others } = &offers;
    let document = json!({
        "hub": registry.location(),
        "images": offers.iter().map(document).collect::<Vec<_>>(),
        "problems": bad.iter().map(bad_document).collect::<Vec<_>>(),
        "others": others,
    });
    output::result(options.format, &document, || {
        let rows: Vec<_> = offers.iter().map(|offer| row(&hub.name.to_string(), offer)).collect();
        let header = ["NAME", "TAG", "DIGEST", "CREATED", "SIZE", "VARIANT"];
        let bad = bad.iter().map(|bad| format!("{}: {}\n", place(bad), bad.error));
        output::table(&header, &rows) + &bad.collect::<String>()
    });
    match bad.len() {
        0 => Ok(ExitCode::SUCCESS),
        1 => Err(CliError::Verification("1 entry of the hub cannot be read".to_owned())),
        count => Err(CliError::Verification(format!("{count} entries of the hub cannot be read"))),
    }
}

/// Adds what this verb offers. Names are no help where tags cannot be listed either, as on a web server.
fn explain(error: CliError, hub: &HubLocation) -> CliError {
    let has_tags = matches!(hub, HubLocation::Registry(_));
    match error {
        CliError::Hub(error) if has_tags && matches!(*error, HubError::Unsupported { .. }) => {
            CliError::Failed(format!("{error}: name what you look for: `spore images --hub HUB NAME…`"))
        }
        error => error,
    }
}

fn row(hub: &str, offer: &Offer) -> Vec<String> {
    // To the minute; the document has all of it.
    let created = offer.created_at.chars().take(16).collect::<String>();
    vec![
        format!("{hub}/{}", offer.name),
        offer.tag.to_string(),
        offer.digest.short(),
        created.replace('T', " "),
        output::size(offer.size),
        offer.key.to_string(),
    ]
}

fn document(offer: &Offer) -> Value {
    json!({
        "name": offer.name,
        "tag": offer.tag,
        "digest": offer.digest,
        "is_variant": offer.is_variant,
        "total_bytes": offer.size,
        "created_at": offer.created_at,
        "architecture": offer.key.architecture,
        "engine": offer.key.engine,
        "accelerator": offer.key.accelerator,
        "cpu": offer.key.cpu,
    })
}

fn place(bad: &BadOffer) -> String {
    match &bad.tag {
        Some(tag) => format!("{}:{tag}", bad.name),
        None => bad.name.to_string(),
    }
}

fn bad_document(bad: &BadOffer) -> Value {
    json!({ "name": bad.name, "tag": bad.tag, "problem": bad.error.to_string() })
}

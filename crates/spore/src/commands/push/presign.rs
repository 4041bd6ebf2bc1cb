//! `spore push --presign`: on a machine with credentials, what one without them needs to push.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::ExitCode;

use format::Reference;
use hub::{HubLocation, RawManifest};

use super::{PushArgs, destination};
use crate::config::Config;
use crate::error::{CliError, Doing};
use crate::options::Options;
use crate::{context, hubs, interrupt, output, progress};

/// The only positional argument is the destination here: the snapshot itself may be elsewhere.
pub(super) fn run(options: &Options, args: &PushArgs, manifest: &Path) -> Result<ExitCode, CliError> {
    if args.dest.is_some() {
        return Err(CliError::Usage("with --presign there is no local snapshot: give DEST alone".to_owned()));
    }
    let config = Config::load()?;
    let dest = destination(config.reference(&args.reference)?)?;
    let hub = match (&args.hub, &dest.hub) {
        // A store is of no use here, and need not be.
        (Some(_), None) => hubs::named(&config, args.hub.as_deref())?,
        _ => hubs::choose(&config, &context::store(options)?, args.hub.as_deref(), &dest)?,
    };
    let HubLocation::Bucket(location) = &hub.location else {
        return Err(CliError::Usage(format!(
            "{}: only uploads to a bucket, s3://…, can be signed",
            hub.location
        )));
    };
    let manifest = read(manifest)?;
    let access = hubs::access()?;
    let Reference { name, tag, .. } = dest;
    let signed = hub::bucket::presign(location, &access, &name, tag.as_ref(), &manifest, args.expires);
    let ticket = interrupt::block_on(signed)?;
    let (count, bytes, ends) = (ticket.blobs.len(), output::size(ticket.bytes()), ticket.expires);
    progress::note(
        options,
        &format!("{count} blobs, {bytes}, may be sent until {ends}: keep it as a password is kept"),
    );
    let json = serde_json::to_string(&ticket);
    output::print(&json.map_err(|error| CliError::Failed(error.to_string()))?);
    Ok(ExitCode::SUCCESS)
}

fn read(path: &Path) -> Result<RawManifest, CliError> {
    let what = format!("read {}", path.display());
    let mut bytes = Vec::new();
    let limit = format::limits::MANIFEST_BYTES as u64 + 1;
    File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes)).doing(what)?;
    let too_large = || CliError::Usage(format!("{} is too large for a manifest", path.display()));
    RawManifest::new(bytes).ok_or_else(too_large)
}

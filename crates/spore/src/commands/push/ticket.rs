//! `spore push --ticket`: without credentials, by what `--presign` has allowed.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use format::Reference;
use hub::bucket::{TICKET_BYTES, Ticket, TicketPush};
use serde_json::json;

use super::PushArgs;
use super::licences::Published;
use crate::config::Config;
use crate::error::{CliError, Doing};
use crate::options::Options;
use crate::progress::Transfer;
use crate::{context, hubs, interrupt, output};

pub(super) fn run(options: &Options, args: &PushArgs, path: &Path) -> Result<ExitCode, CliError> {
    if args.dest.is_some() || args.hub.is_some() {
        return Err(CliError::Usage(
            "the ticket says where the snapshot goes: give neither DEST nor --hub".to_owned(),
        ));
    }
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(TICKET_BYTES as u64 + 1).read_to_end(&mut bytes));
    read.doing(format!("read {}", path.display()))?;
    let ticket = Ticket::parse(&bytes)?;
    let store = context::store(options)?;
    let digest = store.resolve(&Config::load()?.reference(&args.reference)?)?.digest;
    let (place, name, tag, bytes) =
        (ticket.hub.clone(), ticket.name.clone(), ticket.tag.clone(), ticket.bytes());
    let access = hubs::access()?;
    let push = interrupt::block_on(TicketPush::new(&store, &digest, ticket, &access))?;
    let licences = Published::of(&store, &digest)?;
    if args.dry_run {
        let document = json!({
            "hub": place, "name": name, "tag": tag, "digest": digest, "bytes": bytes, "licences": licences,
        });
        output::result(options.format, &document, || {
            format!("{digest} to {place}: {} to send\n{licences}", output::size(bytes))
        });
        return Ok(ExitCode::SUCCESS);
    }
    let progress = Arc::new(Transfer::new(options, "pushing"));
    let pushed = interrupt::block_on(push.execute(progress.clone()));
    progress.finish();
    pushed?;
    let sent = progress.moved();
    let document = json!({
        "hub": place, "name": name, "tag": tag, "digest": digest, "sent_bytes": sent, "licences": licences,
    });
    output::result(options.format, &document, || {
        let shown = Reference { hub: None, name, tag, digest: None };
        format!("{place} {shown}  {digest}  sent {}\n{licences}", output::size(sent))
    });
    Ok(ExitCode::SUCCESS)
}

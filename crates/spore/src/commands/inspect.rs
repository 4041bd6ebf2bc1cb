//! `spore inspect`

use std::collections::HashMap;
use std::process::ExitCode;

use clap::Args;
use format::{Config as SnapshotConfig, Digest, Manifest, Maps, limits, snapshot};
use sandbox::{Attachment, Sandbox, attachments, find};
use serde_json::{Value, json};
use store::{FlatKey, LoadError, ResolveError, Resolved, SandboxError, Store};

use super::ps;
use crate::error::{CliError, Doing};
use crate::options::Options;
use crate::{context, output};

mod referrers;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spore inspect python-numpy
  spore inspect python-numpy --format json | jq .config.machine
  spore inspect python-numpy --manifest > manifest.json
  spore inspect ID
  spore inspect --referrers hub.example/team/numpy:1

A name is looked for among snapshots first, then among sandboxes. What a running sandbox has attached is looked at: a file
that is not the one its snapshot declares is named, and the exit code is 5.")]
pub(crate) struct InspectArgs {
    /// A snapshot, or a sandbox's id or how it begins
    target: String,
    /// Only the snapshot's manifest, byte for byte, on standard output
    #[arg(long)]
    manifest: bool,
    /// List what a hub has about a snapshot of its own, such as signatures, instead of what is here
    #[arg(long, conflicts_with = "manifest")]
    referrers: bool,
    /// The hub: a folder, a URL or an alias [default: the name's own hub, else the default hub]
    #[arg(long, value_name = "HUB", requires = "referrers")]
    hub: Option<String>,
}

pub(crate) fn run(options: &Options, args: &InspectArgs) -> Result<ExitCode, CliError> {
    if args.referrers {
        return referrers::run(options, &args.target, args.hub.as_deref());
    }
    let store = context::store(options)?;
    match context::resolve(&store, &args.target) {
        Ok(resolved) if args.manifest => {
            let (_, bytes) = store.read_manifest(&resolved.digest)?;
            output::copy(&mut bytes.as_slice()).doing("read the manifest")?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error) if args.manifest => Err(error),
        Ok(resolved) => {
            show_snapshot(options, &store, &resolved)?;
            Ok(ExitCode::SUCCESS)
        }
        Err(CliError::Resolve(ResolveError::NotFound { .. }) | CliError::Reference(_)) => {
            match find(&store, &args.target) {
                Ok(sandbox) => show_sandbox(options, &store, &sandbox),
                Err(sandbox::Error::Sandbox(SandboxError::NotFound { .. } | SandboxError::Id { .. })) => {
                    Err(CliError::NotFound(format!(
                        "{} is neither a snapshot nor a sandbox here: `spore images` and `spore ps -a` list both",
                        args.target
                    )))
                }
                Err(error) => Err(error.into()),
            }
        }
        Err(error) => Err(error),
    }
}

/// One blob of a snapshot.
struct Part {
    role: String,
    digest: Digest,
    size: u64,
    is_here: bool,
}

fn show_snapshot(options: &Options, store: &Store, resolved: &Resolved) -> Result<(), CliError> {
    let (manifest, manifest_bytes) = store.read_manifest(&resolved.digest)?;
    let config_bytes = store.read_blob(&manifest.config.digest, limits::CONFIG_BYTES)?;
    let config = store.read_config(&manifest.config.digest)?;
    let parts = parts(store, &manifest, &config)?;
    let tags: Vec<_> =
        store.refs()?.into_iter().filter(|(_, record)| record.digest == resolved.digest).collect();
    let tags: Vec<_> = tags.iter().map(|(name, _)| name.to_string()).collect();
    let document = json!({
        "kind": "snapshot",
        "digest": resolved.digest,
        "names": tags,
        "origin": resolved.origin,
        "manifest": document(&manifest_bytes),
        "config": document(&config_bytes),
        "parts": parts.iter().map(Part::document).collect::<Vec<_>>(),
    });
    output::result(options.format, &document, || {
        let engine = &config.engine;
        let machine = &config.machine;
        let memory = machine.memory.iter().map(|region| region.size).sum();
        let word = |value: serde_json::Result<Value>| match value {
            Ok(Value::String(word)) => word,
            _ => "?".to_owned(),
        };
        let lines = [
            ("snapshot", resolved.digest.to_string()),
            ("names", tags.join(" ")),
            ("origin", resolved.origin.clone().unwrap_or_else(|| "-".into())),
            ("created", config.provenance.created_at.clone()),
            ("machine", format!("{} vCPUs, {} memory", machine.vcpus, output::size(memory))),
            (
                "engine",
                format!(
                    "{} {} {} {}",
                    word(serde_json::to_value(engine.kind)),
                    engine.version,
                    engine.machine_type,
                    word(serde_json::to_value(engine.accelerator)),
                ),
            ),
            ("cpu", format!("{} {}", engine.cpu.model, engine.cpu.features.join(", "))),
            ("kernel", config.provenance.kernel_version.clone()),
            ("config", manifest.config.digest.to_string()),
        ];
        let rows: Vec<_> = parts.iter().map(Part::row).collect();
        format!("{}\n{}", fields(&lines), output::table(&["SIZE", "DIGEST", "PART"], &rows))
    });
    Ok(())
}

/// JSON as it is stored: what this version does not show is in there all the same.
fn document(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_default()
}

fn parts(store: &Store, manifest: &Manifest, config: &SnapshotConfig) -> Result<Vec<Part>, LoadError> {
    let missing: HashMap<Digest, String> =
        store.missing_parts(manifest)?.into_iter().map(|part| (part.digest, part.role)).collect();
    let mut roles: HashMap<Digest, String> =
        snapshot::named_by_config(config).into_iter().map(|part| (part.digest, part.role)).collect();
    if missing.is_empty() {
        let disks = config.disks.iter().map(|disk| store.read_map(&disk.map)).collect::<Result<_, _>>()?;
        let maps = Maps { memory: store.read_map(&config.memory.map)?, disks };
        roles.extend(snapshot::closure(config, &maps).into_iter().map(|part| (part.digest, part.role)));
    }
    let part = |blob: &format::Descriptor| {
        let role = missing.get(&blob.digest).or_else(|| roles.get(&blob.digest));
        Part {
            role: role.unwrap_or(&blob.media_type).clone(),
            digest: blob.digest,
            size: blob.size,
            is_here: !missing.contains_key(&blob.digest),
        }
    };
    Ok(manifest.layers.iter().map(part).collect())
}

impl Part {
    fn row(&self) -> Vec<String> {
        let missing = if self.is_here { "" } else { "  MISSING" };
        vec![output::size(self.size), self.digest.to_string(), format!("{}{missing}", self.role)]
    }

    fn document(&self) -> Value {
        json!({ "role": self.role, "digest": self.digest, "size": self.size, "present": self.is_here })
    }
}

fn show_sandbox(options: &Options, store: &Store, sandbox: &Sandbox) -> Result<ExitCode, CliError> {
    let snapshot = store.sandbox_snapshot(&sandbox.id)?;
    let attached = attachments(store, sandbox)?;
    let engine = sandbox.record.as_ref().and_then(sandbox::Record::engine);
    let usage = engine.and_then(|process| host::usage(process).ok());
    let mut document = ps::describe(sandbox);
    if let Some(fields) = document.as_object_mut() {
        fields.insert("kind".into(), "sandbox".into());
        fields.insert("folder".into(), json!(store.sandbox_path(&sandbox.id)));
        fields.insert("network".into(), json!(sandbox.record.as_ref().map(|record| record.network)));
        let usage = usage
            .map(|usage| json!({ "private_bytes": usage.anonymous, "cpu_seconds": usage.cpu.as_secs_f64() }));
        fields.insert("usage".into(), json!(usage));
        fields.insert("attached".into(), attached.iter().map(describe).collect());
    }
    output::result(options.format, &document, || {
        let record = sandbox.record.as_ref();
        let pid = |process: Option<host::ProcessId>| {
            process.map_or_else(|| "-".into(), |process| process.pid.to_string())
        };
        let unknown = || "?".to_owned();
        let data = |disk: &sandbox::AttachedData| {
            format!("{}, {}", disk.path.display(), if disk.writable { "writable" } else { "read-only" })
        };
        let lines = [
            ("sandbox", sandbox.id.to_string()),
            ("status", sandbox.status.to_string()),
            ("snapshot", snapshot.map_or_else(unknown, |digest| digest.to_string())),
            ("name", record.and_then(|record| record.name.clone()).unwrap_or_else(|| "-".into())),
            ("ends in", record.map_or_else(unknown, ps::limits)),
            ("ports", record.map(ps::ports).filter(|ports| !ports.is_empty()).unwrap_or_else(|| "-".into())),
            ("data disk", record.and_then(|record| record.data.as_ref()).map_or_else(|| "-".into(), data)),
            ("engine pid", pid(engine)),
            ("supervisor pid", pid(record.and_then(sandbox::Record::supervisor))),
            ("own memory", usage.map_or_else(|| "-".into(), |usage| output::size(usage.anonymous))),
            ("folder", store.sandbox_path(&sandbox.id).display().to_string()),
        ];
        let rows: Vec<_> = attached.iter().map(row).collect();
        format!("{}\n{}", fields(&lines), output::table(&["ATTACHED", "DIGEST", "OF"], &rows))
    });
    match attached.iter().filter(|one| !one.is_declared).count() {
        0 => Ok(ExitCode::SUCCESS),
        count => Err(CliError::Verification(format!(
            "sandbox {id} has files that its snapshot does not declare ({count} of {all}), so what runs there is not known: \
             `spore kill {id}` ends it",
            all = attached.len(),
            id = sandbox.id
        ))),
    }
}

fn row(attachment: &Attachment) -> Vec<String> {
    let digest = if attachment.is_declared {
        attachment.declared.digest().to_string()
    } else {
        format!("not the snapshot's: {}", attachment.file.display())
    };
    vec![attachment.name.clone(), digest, digest_of(attachment.declared).to_owned()]
}

fn describe(attachment: &Attachment) -> Value {
    json!({
        "name": attachment.name,
        "file": attachment.file,
        "digest": attachment.is_declared.then(|| attachment.declared.digest()),
        "declared": attachment.declared.digest(),
        "digest_of": digest_of(attachment.declared),
    })
}

/// What has the digest by which a file is known.
fn digest_of(key: FlatKey) -> &'static str {
    match key {
        FlatKey::Layer(_) => "layer",
        FlatKey::Map(_) => "map",
    }
}

/// One field a line.
fn fields(lines: &[(&str, String)]) -> String {
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    lines.iter().map(|(name, value)| format!("{name:width$}  {value}\n")).collect()
}

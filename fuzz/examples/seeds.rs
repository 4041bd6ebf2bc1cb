//! Makes the input that fuzzing begins with, where a valid one is not found by chance: `cargo run --example seeds` in `fuzz/`.
//!
//! Once a format has changed, what was kept in `corpus/` is no longer valid, and this is.

use std::error::Error;
use std::fs;
use std::io::Cursor;
use std::path::Path;

use agent_protocol::{
    Archive, BootId, Credit, DataDisk, Entropy, Exec, ExitStatus, Extract, Failure, FailureKind, Given,
    Hostname, Identity, LinkState, MachineId, Reply, Request, SessionId, Stream, WindowSize, encode_credit,
};
use format::config::{Attachment, BaseOrigin, DiskRole};
use format::frame::BlobBuilder;
use format::map::{Codec, MapBlob, MapBuilder};
use format::testing;
use format::{Config, Digest, Manifest, Map, Maps, PAGE_SIZE, zstd_frame};
use fuzz::pack::{Kind, Record, assemble, refer};
use fuzz::wire;
use pack::{Input, UnpackOptions, plan_unpack};
use store::{Store, TagAs};

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result {
    formats()?;
    references()?;
    packs()?;
    from_guest()?;
    from_host()?;
    qmp()?;
    states()
}

fn put(target: &str, seed: &[u8]) -> Result {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    fs::create_dir_all(&folder)?;
    let name = Digest::of(seed).hex();
    Ok(fs::write(folder.join(&name[..40]), seed)?)
}

/// Pages with little in them, which compress well.
fn pages(seed: u8, count: u64) -> Vec<u8> {
    let page =
        |n: u64| (0..PAGE_SIZE).map(move |at| if at % 512 == 0 { seed.wrapping_add(n as u8) } else { 0 });
    (0..count).flat_map(page).collect()
}

/// A frame blob with a frame for each of `frames`, and what a map says of it.
fn blob(frames: &[Vec<u8>]) -> Result<(Vec<u8>, MapBlob)> {
    let (mut builder, mut bytes) = (BlobBuilder::default(), Vec::new());
    for plain in frames {
        let compressed = zstd_frame::encode(plain)?;
        builder.push(&compressed, plain.len())?;
        bytes.extend(compressed);
    }
    let index = builder.finish();
    bytes.extend(index.encode());
    let digest = Digest::of(&bytes);
    Ok((bytes, MapBlob::new(digest, &index)))
}

/// A snapshot of so many layers, and all that it consists of.
struct Sample {
    config: Config,
    maps: Maps,
    manifest: Manifest,
    /// In an order in which none needs a later one; maps with this codec.
    blobs: Vec<Vec<u8>>,
}

fn sample(layers: u8, codec: Codec) -> Result<Sample> {
    let mut blobs = Vec::new();
    let mut config = testing::config(layers, PAGE_SIZE);
    let (mut layer_maps, mut contents) = (Vec::new(), Vec::new());
    for n in 0..layers {
        let content = pages(n, 1);
        let (bytes, blob) = blob(std::slice::from_ref(&content))?;
        let mut builder = MapBuilder::new(1);
        builder.blob(0, 1, &blob, 0)?;
        blobs.push(bytes);
        layer_maps.push(builder.finish()?);
        contents.push(Digest::of(&content));
    }
    let (bytes, of_memory) = blob(&[pages(100, 2), pages(110, 1)])?;
    blobs.push(bytes);
    let mut memory = MapBuilder::new(1024);
    memory.blob(3, 2, &of_memory, 0)?;
    memory.blob(700, 1, &of_memory, 2)?;
    memory.layer(1023, 1, contents[0], 0)?;
    let (bytes, of_disk) = blob(&[pages(120, 1)])?;
    blobs.push(bytes);
    let mut disk = MapBuilder::new(256);
    disk.blob(1, 1, &of_disk, 0)?;
    let maps =
        Maps { memory: memory.finish()?, disks: layer_maps.into_iter().chain([disk.finish()?]).collect() };

    let mut keep = |bytes: Vec<u8>| {
        let digest = Digest::of(&bytes);
        if !blobs.contains(&bytes) {
            blobs.push(bytes);
        }
        digest
    };
    config.engine.state = keep(zstd_frame::encode(b"state")?);
    config.machine.kernel.image = keep(b"a kernel".to_vec());
    config.machine.kernel.initrd = keep(zstd_frame::encode(b"an initrd")?);
    config.memory.map = keep(maps.memory.encode(codec)?);
    for (n, (disk, map)) in config.disks.iter_mut().zip(&maps.disks).enumerate() {
        disk.map = keep(map.encode(codec)?);
        disk.content = contents.get(n).copied();
        disk.size = map.bytes();
    }
    let encoded = config.encode()?;
    let size =
        |digest: &Digest| blobs.iter().find(|blob| Digest::of(blob) == *digest).map_or(0, Vec::len) as u64;
    let manifest = testing::manifest(&config, &encoded, &maps, size);
    blobs.push(encoded);
    blobs.push(manifest.encode()?);
    Ok(Sample { config, maps, manifest, blobs })
}

fn formats() -> Result {
    let mut config = sample(2, Codec::Plain)?.config;
    put("config", &config.encode()?)?;
    let digest = Digest::of(b"x");
    config.machine.memory = config.machine.profile.memory_regions(3 << 30);
    config.lineage.parent = Some(digest);
    config.provenance.base =
        Some(BaseOrigin { reference: "a.tar".into(), manifest: Some(digest), config: digest });
    let media_type = "application/x".to_owned();
    config.attachments.push(Attachment { media_type, digest, size: 7, critical: false });
    put("config", &config.encode()?)?;
    for layers in [1, 12] {
        let Sample { manifest, maps, blobs, .. } = sample(layers, Codec::Zstd)?;
        put("manifest", &manifest.encode()?)?;
        let [first_disk, ..] = &maps.disks[..] else { return Err("a snapshot has disks".into()) };
        for map in [&maps.memory, first_disk] {
            put("map", &map.encode(Codec::Plain)?)?;
            put("map", &map.encode(Codec::Zstd)?)?;
        }
        let of_memory = &blobs[usize::from(layers)];
        let index = maps.memory.blobs()[0].index_offset as usize;
        put("frames", &of_memory[index..])?;
    }
    put("map", &many_extents()?.encode(Codec::Plain)?)?;
    for plain in [pages(1, 1), pages(2, 3), vec![7; 5000], (0..=255).cycle().step_by(7).take(4096).collect()]
    {
        put("frames", &zstd_frame::encode(&plain)?)?;
    }
    Ok(())
}

/// Of several blobs and layers, with and without gaps.
fn many_extents() -> Result<Map> {
    let mut builder = MapBuilder::new(1 << 20);
    let blobs = [blob(&[pages(1, 40)])?.1, blob(&[pages(2, 200)])?.1];
    for n in 0..20 {
        builder.blob(n * 50, 1 + n % 7, &blobs[n as usize % 2], n % 9)?;
        builder.layer(n * 50 + 10, 1 + n, Digest::of(&[n as u8 % 3]), n * 300)?;
    }
    Ok(builder.finish()?)
}

fn references() -> Result {
    let digest = Digest::of(b"x");
    let texts = [
        "numpy".to_owned(),
        "team/numpy:1.2".to_owned(),
        "localhost/a:x".to_owned(),
        "hub.example:5000/a/b__c-d.e:v1_0".to_owned(),
        format!("local/a:1@{digest}"),
        digest.to_string(),
        "52:54:00:12:34:56".to_owned(),
        "hub.example%3A5000%2Fa%2Fb%3A1".to_owned(),
    ];
    texts.iter().try_for_each(|text| put("reference", text.as_bytes()))
}

fn packs() -> Result {
    let whole = |records: &[Record]| {
        let mut script = Vec::new();
        records.iter().for_each(|record| record.write(&mut script));
        script
    };
    for (layers, codec) in [(1, Codec::Plain), (2, Codec::Plain), (1, Codec::Zstd)] {
        let records = pack(&sample(layers, codec)?)?;
        check(&assemble(&whole(&records)))?;
        put("pack", &whole(&records))?;
        // As others order it, with the folders that they write, and without the frames of the layer.
        let mut other = records.clone();
        other.iter_mut().for_each(|record| record.rank = 9 - record.rank);
        other[0].kind = Kind::Absent;
        let mut folder = tar::Header::new_ustar();
        folder.set_path("blobs/")?;
        folder.set_entry_type(tar::EntryType::Directory);
        folder.set_size(0);
        folder.set_cksum();
        other.push(Record { kind: Kind::Raw, rank: 0, content: folder.as_bytes().to_vec() });
        put("pack", &whole(&other))?;
        let mut cut = records;
        cut.push(Record { kind: Kind::Cut, rank: 9, content: vec![0, 2] });
        put("pack", &whole(&cut))?;
    }
    Ok(())
}

/// Checks that a pack is one, with all of its snapshot.
fn check(pack: &[u8]) -> Result {
    let folder = tempfile::tempdir()?;
    let store = Store::open(&folder.path().join("root"))?;
    let options = UnpackOptions { max_bytes: None, lay_out: true, may_lack: false };
    let tag = TagAs { name: "local/seed:1".parse()?, may_move: false };
    let input = Input::Stream(Box::new(Cursor::new(pack.to_vec())));
    plan_unpack(&store, input, options)?.execute(&tag, &())?.finish(&tag, &())?;
    Ok(())
}

fn pack(sample: &Sample) -> Result<Vec<Record>> {
    let Sample { config, manifest, blobs, .. } = sample;
    let mut known = Vec::new();
    let mut records = Vec::new();
    let place = |digest: &Digest| manifest.layers.iter().position(|blob| blob.digest == *digest);
    let is_map =
        |digest: &Digest| config.memory.map == *digest || config.disks.iter().any(|disk| disk.map == *digest);
    for (n, bytes) in blobs.iter().enumerate() {
        let digest = Digest::of(bytes);
        let is_frames = sample.maps.disks.iter().chain([&sample.maps.memory]).flat_map(Map::blobs);
        let rank = match place(&digest) {
            _ if n + 1 == blobs.len() => 2,
            None => 3,
            Some(_) if is_map(&digest) => 4,
            Some(_) if is_frames.into_iter().all(|blob| blob.digest != digest) => 5,
            // Those of memory are declared before those of disks.
            Some(_) if sample.maps.memory.blobs().iter().any(|blob| blob.digest == digest) => 6,
            Some(_) => 7,
        };
        records.push(Record { kind: Kind::Blob, rank, content: refer(bytes, &known) });
        known.push((digest, bytes.len()));
    }
    let (digest, size) = known.last().ok_or("there is a manifest")?;
    let index = serde_json::json!({
        "schemaVersion": 2,
        "manifests": [{
            "mediaType": format::manifest::media_type::MANIFEST,
            "digest": digest,
            "size": size,
            "annotations": { "org.opencontainers.image.ref.name": "sample:1" },
        }],
    });
    // Keys are sorted, so that the size does not follow the digest.
    let text = index.to_string().replace(&format!("\"size\":{size}"), "\"size\":@");
    let mut content = refer(text.as_bytes(), &known);
    let at = content.iter().position(|byte| *byte == b'@').ok_or("there is a size")?;
    content.splice(at..=at, [0xFF, b'S', u8::try_from(known.len() - 1)?]);
    records.push(Record { kind: Kind::Index, rank: 1, content });
    let layout = br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec();
    records.push(Record { kind: Kind::Layout, rank: 0, content: layout });
    assert!(config.disks.iter().any(|disk| disk.role == DiskRole::Writable));
    Ok(records)
}

fn record(script: &mut Vec<u8>, kind: u8, session: u8, content: &[u8]) {
    wire::Record { kind, session, content }.write(script);
}

fn credit(stream: Stream, bytes: u32) -> Vec<u8> {
    let mut frame = Vec::new();
    encode_credit(&mut frame, SessionId(1), Credit { stream, bytes });
    frame.split_off(agent_protocol::HEADER_LEN)
}

fn from_guest() -> Result {
    const CONTROL: u8 = 4;
    let failure = Failure { kind: FailureKind::NotFound, message: "no such file".into() };
    let replies = [
        Reply::Pong {},
        Reply::Warmed {},
        Reply::IdentityDone {},
        Reply::Provided {},
        Reply::Withdrawn {},
        Reply::Attached {},
        Reply::SyncDone {},
        Reply::Resumed {},
        Reply::ShuttingDown {},
        Reply::Started { pid: 7 },
        Reply::Connected {},
        Reply::Exit(ExitStatus::Code(0)),
        Reply::Exit(ExitStatus::Signal(9)),
        Reply::Failed(failure),
    ];
    for (reply, session) in replies.iter().zip([0, 1, 2, 3, 4].into_iter().cycle()) {
        let mut script = vec![1, 3];
        record(&mut script, CONTROL, session, &serde_json::to_vec(reply)?);
        put("agent_from_guest", &script)?;
    }
    let json = |reply: &Reply| serde_json::to_vec(reply);
    // An exec from its beginning to its end, while the client reads, grants and sends.
    let mut script = vec![1, 5];
    record(&mut script, CONTROL, 1, &json(&Reply::Started { pid: 7 })?);
    record(&mut script, wire::RAW + 2, 0, b"input");
    record(&mut script, 8, 1, &credit(Stream::Stdin, 5));
    record(&mut script, 6, 1, b"output");
    record(&mut script, 7, 1, b"an error");
    record(&mut script, wire::RAW + 3, 0, b"");
    record(&mut script, wire::RAW + 1, 0, &[0; 10]);
    record(&mut script, 6, 1, b"");
    record(&mut script, 7, 1, b"");
    record(&mut script, CONTROL, 1, &json(&Reply::Exit(ExitStatus::Code(3)))?);
    record(&mut script, wire::RAW + 4, 1, b"");
    record(&mut script, 6, 3, b"nobody reads this");
    put("agent_from_guest", &script)?;
    // A port's connection.
    let mut script = vec![1, 64];
    record(&mut script, CONTROL, 4, &json(&Reply::Connected {})?);
    record(&mut script, wire::RAW + 6, 0, b"");
    record(&mut script, wire::RAW + 5, 0, b"GET /");
    record(&mut script, 8, 4, &credit(Stream::Stdin, 5));
    record(&mut script, 6, 4, b"200 OK");
    record(&mut script, 6, 4, b"");
    record(&mut script, wire::RAW + 6, 0, b"");
    record(&mut script, CONTROL, 4, &json(&Reply::Exit(ExitStatus::Code(0)))?);
    record(&mut script, wire::RAW, 0, &[0; 24]);
    put("agent_from_guest", &script)
}

fn from_host() -> Result {
    const CONTROL: u8 = 4;
    let identity = Identity {
        entropy: Entropy::new(vec![7; 32])?,
        wall_clock_ns: 1,
        hostname: Hostname::try_from("h".to_owned())?,
        machine_id: MachineId::try_from("0".repeat(32))?,
        boot_id: BootId::try_from("0b0c5d3e-52b1-4a0e-9a4f-7d1d3d8e0a11".to_owned())?,
        network: Some(LinkState { up: true }),
        deadline_ms: 1000,
    };
    let given = Given::new([("A".into(), "1".into())].into(), [("key".into(), vec![1, 255])].into())?;
    let size = WindowSize { rows: 24, columns: 80 };
    let exec = Exec {
        argv: vec!["sh".into(), "-c".into()],
        env: [("A".into(), "1".into())].into(),
        cwd: Some("/".into()),
        user: Some("root".into()),
        stdin: true,
        tty: Some(size),
    };
    let requests = [
        (0, Request::Ping {}),
        (0, Request::Warm { deadline_ms: 5 }),
        (0, Request::Identity(identity)),
        (0, Request::Provide(given)),
        (0, Request::Withdraw {}),
        (0, Request::Attach(DataDisk { writable: true })),
        (0, Request::Sync {}),
        (0, Request::Shutdown {}),
        (1, Request::Exec(exec)),
        (2, Request::Eval { code: "1".into() }),
        (3, Request::Archive(Archive { path: "/a".into(), user: None })),
        (4, Request::Extract(Extract { path: "/a".into(), name: Some("b".into()), user: None })),
        (5, Request::Connect { port: 80 }),
        (6, Request::Release {}),
        (1, Request::Signal { number: 2 }),
        (1, Request::Resize(size)),
    ];
    let mut sessions = vec![1, 9];
    for (session, request) in requests {
        let json = serde_json::to_vec(&request)?;
        let mut script = vec![1, 7];
        record(&mut script, CONTROL, session, &json);
        put("agent_from_host", &script)?;
        if session > 0 {
            record(&mut sessions, CONTROL, session, &json);
        }
    }
    record(&mut sessions, 5, 1, b"input");
    record(&mut sessions, 8, 1, &credit(Stream::Stdout, 100));
    record(&mut sessions, 5, 1, b"");
    record(&mut sessions, 0, 0, b"");
    put("agent_from_host", &sessions)?;
    let config = br#"{"version":1,"modules":["/a.ko"],"layers":1,"writable":true,"hostname":"h","env":{"A":"1"},"user":"u","cwd":"/",
        "network":{"address":"10.0.2.15","prefix":24,"gateway":"10.0.2.2","dns":"10.0.2.3"},
        "warm":{"argv":["a"],"ready":{"command":{"argv":["b"],"interval_ms":1}},"eval":true},"on_fork":{"argv":["c"],"deadline_ms":1}}"#;
    put("agent_from_host", &[&[1, 1][..], config].concat())
}

fn qmp() -> Result {
    let greeting = r#"{"QMP": {"version": {"qemu": {"micro": 2, "minor": 0, "major": 10}, "package": ""}, "capabilities": ["oob"]}}"#;
    let qdev = |id: &str| format!("/machine/peripheral/{id}/virtio-backend");
    let overlay = r#"json:{"backing": {"driver": "raw", "file": {"driver": "file", "filename": "writable.base"}}, "driver": "qcow2", "file": {"driver": "file", "filename": "writable.overlay"}}"#;
    let block = serde_json::json!([
        { "device": "", "qdev": qdev("writable"), "inserted": { "file": overlay, "ro": false,
          "backing_file": "writable.base", "image": { "virtual-size": 8192, "format": "qcow2" } } },
        { "qdev": qdev("data0"), "inserted": { "file": r#"json:{"driver": "null-co"}"#, "ro": false,
          "image": { "virtual-size": 1 << 20 } } },
        { "qdev": qdev("layer0"), "inserted": { "file": "layer0", "ro": true, "image": { "virtual-size": 4096 } } },
    ]);
    let status = r#"{"status": "paused", "singlestep": false, "running": false}"#;
    let begin = [
        greeting.to_owned(),
        r#"{"return": {}, "id": 0}"#.to_owned(),
        format!(r#"{{"return": {block}, "id": 1}}"#),
        r#"{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "MIGRATION", "data": {"status": "setup"}}"#.to_owned(),
        r#"{"return": {}, "id": 2}"#.to_owned(),
        r#"{"event": "MIGRATION", "data": {"status": "completed"}}"#.to_owned(),
        format!(r#"{{"return": {status}, "id": 3}}"#),
        r#"{"return": {}, "id": 4}"#.to_owned(),
    ];
    put("qmp", (begin.join("\r\n") + "\r\n").as_bytes())?;
    let answers = [
        format!(r#"{{"return": {status}, "id": 0}}"#),
        r#"{"return": {"status": "running", "running": true}, "id": 0}"#.to_owned(),
        r#"{"return": {"blocked-reasons": ["an NVMe drive"]}, "id": 0}"#.to_owned(),
        r#"{"error": {"class": "CommandNotFound", "desc": "The command x has not been found"}, "id": 0}"#
            .to_owned(),
        r#"{"event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-shutdown"}}"#.to_owned(),
        "{\"return\": {}, \"id\": 0}\n{\"return\": \"pc-q35-7.2-machine\", \"id\": 1}".to_owned(),
    ];
    answers.iter().try_for_each(|answer| put("qmp", format!("{answer}\n").as_bytes()))
}

fn states() -> Result {
    let section = |id: u8, name: &str, data: &[u8]| {
        let length = u8::try_from(name.len()).expect("a name is short");
        let start = [4, 0, 0, 0, id, length];
        let version = [0, 0, 0, 0, 0, 0, 0, 4];
        [&start[..], name.as_bytes(), &version, data, &[0x7E, 0, 0, 0, id]].concat()
    };
    let header = b"QEVM\x00\x00\x00\x03";
    let (timer, network, cpu) =
        (section(0, "timer", b"t"), section(1, "slirp", b"packets"), section(4, "cpu_common", b"c"));
    let name = "pc-q35-7.2";
    let prefix = [&[10], name.as_bytes(), header].concat();
    let configuration = [&[7, 0, 0, 0, 10], name.as_bytes()].concat();
    let states = [
        [&prefix[..], &timer, &cpu, &[0]].concat(),
        [&prefix[..], &timer, &network, &cpu, &[0]].concat(),
        [&prefix[..], &network, &[0]].concat(),
        [&prefix[..], &configuration, &timer, &cpu, &[0]].concat(),
        [&prefix[..], &configuration, &section(1, "timer", &[8, 0, 3, 0, 16]), &[0]].concat(),
    ];
    states.iter().try_for_each(|state| put("engine_state", state))
}
